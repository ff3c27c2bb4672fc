package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

var (
	descEjections = desc("node_ejections_total",
		"Times that a replica was left out because connections to it failed (breaker), or was not preferred because its replay was behind or would be (lag, paused, delayed, stalled).",
		"node", "why")
	descNodeState = desc("node_state", "1 for the state that the node is in: primary, serving, warming, trial, ejected, open, no_reads, down or out.",
		"node", "state")
	descNodeWeight = desc("node_weight", "The node's share of reads relative to others, less what a slow start holds back; 0 for one that does not count as a replica.", "node")
)

// describeNodes adds the descriptions of what collectNodes collects.
func describeNodes(ch chan<- *prometheus.Desc) {
	ch <- descEjections
	ch <- descNodeState
	ch <- descNodeWeight
}

// collectNodes collects how the nodes stand with the router.
func collectNodes(ch chan<- prometheus.Metric, nodes []proxy.NodeStats) {
	for i := range nodes {
		n := &nodes[i]
		for _, e := range n.Ejections {
			ch <- prometheus.MustNewConstMetric(descEjections, prometheus.CounterValue, float64(e.Count), n.Name, e.Why)
		}
		for _, state := range router.NodeStates() {
			v := 0.0
			if state == n.State {
				v = 1
			}
			ch <- prometheus.MustNewConstMetric(descNodeState, prometheus.GaugeValue, v, n.Name, state)
		}
		ch <- prometheus.MustNewConstMetric(descNodeWeight, prometheus.GaugeValue, n.Effective, n.Name)
	}
}
