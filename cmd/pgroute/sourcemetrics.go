package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// sourceMetrics tell what the source of servers says, and what is wrong with it.
type sourceMetrics struct {
	srv     *proxy.Server
	refused *refusals
}

var (
	descSource = desc("source_errors_total",
		"What was told about the servers and not believed: malformed znodes, what ZooKeeper refused, servers of a foreign cluster, second primaries.", "what")
	descSourceAge = desc("source_age_seconds", "Since when the source of servers has not proven that it speaks for the present.")
	descStreams   = desc("node_streams", "1 for a replica that receives WAL, 0 for one that does not.", "node")
)

// Describe implements prometheus.Collector.
func (sourceMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSource, descSourceAge, descStreams} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m sourceMetrics) Collect(ch chan<- prometheus.Metric) {
	st := m.srv.Stats()
	for what, n := range m.refused.sourceErrors(&st.Router) {
		ch <- prometheus.MustNewConstMetric(descSource, prometheus.CounterValue, float64(n), what)
	}
	c := st.Router.SourceConfirmed
	if c.IsZero() && m.refused.ages {
		c = st.Started // it has never spoken
	}
	if !c.IsZero() {
		ch <- prometheus.MustNewConstMetric(descSourceAge, prometheus.GaugeValue, time.Since(c).Seconds())
	}
	for i := range st.Nodes {
		n := &st.Nodes[i]
		if n.Role != router.RoleReplica.String() {
			continue
		}
		streams := 0.0
		if n.Streams {
			streams = 1
		}
		ch <- prometheus.MustNewConstMetric(descStreams, prometheus.GaugeValue, streams, n.Name)
	}
}
