package lab

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgroute/pgroute/internal/booklab/api"
)

// WaitReady waits until every instance that runs answers, knows all others that
// run, and sees all servers healthy, and until the balancer passes requests on.
func (l *Lab) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client := &api.Client{HTTP: l.http}
	var running []*Process
	for _, i := range l.Instances {
		if i.Running() {
			running = append(running, i.Process)
		}
	}
	for _, p := range append(running, l.Balancer) {
		var missing string
		err := until(ctx, func() (bool, error) {
			state, err := client.State(ctx, p.URL())
			if err != nil {
				missing = err.Error()
			} else {
				missing = l.missing(state, running)
			}
			return missing == "", nil
		})
		if err != nil {
			return fmt.Errorf("wait until %s is ready: %w: %s\n%s", p.Name, err, missing, p.LogTail(2<<10))
		}
	}
	l.opts.Progress("all instances know each other and all servers")
	return nil
}

// missing says what is not as it should be, "" if nothing is.
func (l *Lab) missing(s *api.State, running []*Process) string {
	var list []string
	known := make(map[string]bool)
	for _, i := range s.Instances {
		known[i.Name] = true
	}
	for _, p := range running {
		if !known[p.Name] {
			list = append(list, s.Instance+" does not know "+p.Name)
		}
	}
	nodes := make(map[string]api.NodeInfo)
	for _, n := range s.Nodes {
		nodes[n.Name] = n
	}
	for _, n := range l.Cluster.Nodes() {
		role := "replica"
		if n == l.Cluster.Primary() {
			role = "primary"
		}
		if got := nodes[n.Name]; n.Running() && (!got.Healthy || got.Role != role) {
			list = append(list, fmt.Sprintf("%s does not see %s as a healthy %s", s.Instance, n.Name, role))
		}
	}
	return strings.Join(list, ", ")
}
