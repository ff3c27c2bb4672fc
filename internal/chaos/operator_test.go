package chaos_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// operator looks at the proxies while things go wrong, as people and their monitoring
// do: at all that SHOW HELP lists, and at the pages of --admin. What it sees is
// not judged; that a proxy dies of it is found in its log.
type operator struct {
	l    *lab
	mu   sync.Mutex
	seen map[string]int // how often each was answered
}

// run looks at each proxy every second until ctx ends.
func (o *operator) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, p := range o.l.proxies {
		all.Go(func() {
			for pause(ctx, time.Second) {
				o.look(ctx, p)
			}
		})
	}
	all.Wait()
}

// look asks for everything once, until the first error: the proxy is dead, or
// cut off.
func (o *operator) look(ctx context.Context, p *proxyNode) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, page := range []string{"/metrics", "/status.json"} {
		if o.get(ctx, p, page) != nil {
			return
		}
		o.answered(page)
	}
	conn, err := pgx.Connect(ctx, p.dsnOf("pgroute"))
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, "SHOW HELP", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return
	}
	help, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		v, err := row.Values()
		if err != nil || len(v) == 0 {
			return "", err
		}
		return fmt.Sprint(v[0]), nil
	})
	if err != nil {
		return
	}
	for _, sql := range help {
		if !strings.HasPrefix(sql, "SHOW ") {
			continue
		}
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return
		}
		o.answered(sql)
	}
}

func (o *operator) get(ctx context.Context, p *proxyNode, page string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+page, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (o *operator) answered(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[what]++
}

// blind says what the operator never saw although it was there for long enough.
func (o *operator) blind() (wrong []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, what := range []string{"/metrics", "/status.json", "SHOW CLIENTS", "SHOW SERVERS", "SHOW POOLS", "SHOW HELP"} {
		if o.seen[what] == 0 {
			wrong = append(wrong, "the operator never saw "+what)
		}
	}
	return wrong
}

// dsnOf is how a database of the proxy is reached.
func (p *proxyNode) dsnOf(database string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable&connect_timeout=10", cluster.AppUser, cluster.AppPassword, p.addr, database)
}
