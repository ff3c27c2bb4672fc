package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/booklab/api"
	"github.com/pgroute/pgroute/internal/booklab/lab"
)

// invite says what runs where, and what to do with it.
func invite(scr *screen, l *lab.Lab, took time.Duration) {
	scr.head(fmt.Sprintf("The booking service runs, after %.1f s", took.Seconds()))
	scr.line("")
	scr.line("  Open          %s", scr.bold(l.URL()))
	scr.line("                %s", scr.dim("the load balancer: book seats, make a replica late, let 100 users fight for a seat"))
	for i, inst := range l.Instances {
		label := ""
		if i == 0 {
			label = "Instances"
		}
		over := "over the library"
		if inst.Over != nil {
			over = "over " + inst.Over.Name
		}
		scr.line("  %-13s %s  %s", label, inst.URL(), scr.dim(inst.Name+", "+over))
	}
	if len(l.Sidecars) > 0 {
		s := l.Sidecars[0]
		scr.line("  In SQL        psql '%s'", l.DSN(s))
		scr.line("                %s", scr.dim("SELECT * FROM bookings;   then   SHOW pgroute.last_route;   says which server answered, and why"))
		scr.line("  Sidecars      %s", strings.Join(admins(l), "  "))
	}
	scr.line("  Servers       %s", strings.Join(servers(l), "  "))
	scr.line("")
	scr.line("  %s", scr.dim("Ctrl-C ends everything and leaves nothing behind."))
}

func admins(l *lab.Lab) []string {
	var list []string
	for _, s := range l.Sidecars {
		list = append(list, "http://"+s.Admin)
	}
	return list
}

func servers(l *lab.Lab) []string {
	var list []string
	for _, n := range l.Cluster.Nodes() {
		name := n.Name
		if n == l.Cluster.Primary() {
			name += " (primary)"
		}
		list = append(list, name+" "+n.Addr())
	}
	return list
}

const watchPace = time.Second

// watch stays for a while, until ctx is done if that is 0, and keeps a line of
// counters on a terminal.
func watch(ctx context.Context, scr *screen, l *lab.Lab, stay time.Duration) error {
	if stay > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, stay)
		defer cancel()
	}
	if !scr.live {
		<-ctx.Done()
		return nil
	}
	scr.line("")
	client := &api.Client{HTTP: &http.Client{Timeout: 5 * time.Second}}
	tick := time.NewTicker(watchPace)
	defer tick.Stop()
	for {
		if line := counters(ctx, client, l); ctx.Err() == nil {
			scr.over("  " + scr.dim(line))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// counters is the line. What cannot be asked is left out.
func counters(ctx context.Context, client *api.Client, l *lab.Lab) string {
	var parts []string
	if n, err := l.Cluster.Primary().QueryString(ctx, "SELECT count(*) FROM bookings WHERE cancelled IS NULL"); err == nil {
		parts = append(parts, n+" bookings")
	}
	reads := map[string]float64{}
	for _, s := range l.Sidecars {
		addReads(ctx, client.HTTP, s.Admin, reads)
	}
	parts = append(parts, fmt.Sprintf("reads over sidecars: %.0f replicas, %.0f primary", reads["replica"], reads["primary"]))
	if state, err := client.State(ctx, l.URL()); err == nil {
		for _, n := range state.Nodes {
			if n.Role != "replica" {
				continue
			}
			switch {
			case !n.Healthy:
				parts = append(parts, n.Name+" is away")
			case n.Paused:
				parts = append(parts, n.Name+" late by "+bytesText(n.LagBytes))
			}
		}
	}
	return cut(strings.Join(parts, " · "), lineWidth)
}

// lineWidth fits every terminal: a line that wraps cannot be written over.
const lineWidth = 76

func cut(text string, width int) string {
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return text
}

// addReads adds up pgroute_reads_total of a sidecar by role.
func addReads(ctx context.Context, client *http.Client, admin string, reads map[string]float64) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		return // it is being restarted, perhaps
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		if !ok || !strings.HasPrefix(name, "pgroute_reads_total{") {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		for _, role := range []string{"replica", "primary"} {
			if strings.Contains(name, `role="`+role+`"`) {
				reads[role] += n
			}
		}
	}
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
