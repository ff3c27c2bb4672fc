package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// metrics turns a server's Stats into Prometheus metrics at each scrape.
type metrics struct {
	srv     *proxy.Server
	refused *refusals
}

func newMetrics(srv *proxy.Server, refused *refusals) prometheus.Collector {
	return metrics{srv, refused}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pgroute_"+name, help, labels, nil)
}

var (
	descReads = desc("reads_total", "Statements classified as reads, by the node and role that served them and the reason.",
		"node", "role", "reason")
	descFloorWait = desc("floor_wait_seconds", "How long reads that had to wait for a replica waited before one served them.")
	descFallbacks = desc("fallbacks_total", "Reads that went to the primary although the level allows a replica.", "reason")
	descRedo      = desc("redo_total", "Reads that were run again elsewhere, by the SQLSTATE of the first attempt.", "sqlstate")
	descLag       = desc("replay_lag_bytes", "WAL that the node is not yet known to have replayed.", "node")
	descLost      = desc("lost_writes_total", "Clients whose last acknowledged write a change of the primary has lost.")
	descMaybe     = desc("maybe_lost_writes_total", "Clients whose last acknowledged write a change of the primary may have lost.")
	descCommits   = desc("commits_resolved_total", "COMMITs whose connection was lost before their answer, by what became of them.", "outcome")
	descWrites    = desc("writes_total", "Requests that were not proven to be reads.")
	descBad       = desc("protocol_violations_total", "Clients that broke the protocol.")
	descClients   = desc("clients", "Clients that are logged in.")
	descPins      = desc("pins_total", "Times that a client was pinned to its server connection, by what pinned it.", "reason")
	descPinned    = desc("pinned_clients", "Clients that are pinned to their server connection now, by what pins them.", "reason")
	descPinChecks = desc("pin_checks_total", "Questions to servers whether what pinned a client is still there.")
	descShadow    = desc("shadow_reads_total", "Reads in shadow mode, by where and why they would have run.", "role", "reason")
	descTickets   = desc("tickets_total", "Tickets taken: questions for a position of the primary.")
	descPositions = desc("position_calls_total", "Queries to the primary that answered tickets.")
	descNudges    = desc("nudges_total", "Times that the primary was made to flush its WAL.")
	descReadings  = desc("replay_readings_total", "Readings of replay positions beside the regular ones.")
	descParked    = desc("parked_questions_total", "Questions left with a replica that answers when it has replayed what somebody waits for.")
	descWaits     = desc("floor_waits_total", "Times that a read waited for a replica.")
	descHopeless  = desc("floor_waits_skipped_total", "Waits that were skipped because no replica could be there in time.")
	descStale     = desc("stale_reads_total", "Reads served below their floor because on_timeout is stale.")
	descRefused   = desc("refused_total", "Requests that no node could serve.")
	descBudget    = desc("fallback_budget_full_total", "Reads that found the fallback budget used up.")
	descFalling   = desc("fallbacks_running", "Reads that use the fallback budget now.")
	descUp        = desc("node_up", "1 for a node that answers as the primary or counts as a replica.", "node", "role")
	descEpoch     = desc("epoch", "The epoch of the topology: it changes with the primary.")
	descLeader    = desc("leadership", "1 while it is proven that no other server acknowledges commits.")
	descPools     = desc("server_connections", "Connections to servers: active (a client has it), idle, used (being cleaned), opening.",
		"node", "state")
	descPoolWaiting = desc("pool_waiting", "Clients that wait for a server connection now.", "node")
	descPoolWait    = desc("pool_wait_seconds", "How long statements waited for a server connection, of those that had to and got one.")
	descPoolRefused = desc("pool_timeouts_total", "Statements that got no server connection, by the limit that was in the way.", "limit")
	descChannels    = desc("listen_channels", "Channels that the shared listeners listen to.")
	descListeners   = desc("listeners", "Channels of clients on the shared listeners, each counted once for each client.")
	descNotified    = desc("notifications_total", "Notifications that the shared listeners have received.")
	descUnheard     = desc("notifications_dropped_total", "Notifications that a client was not given because it did not take them.")
	descRelisten    = desc("listener_reconnects_total", "Times that a shared listener's lost connection was replaced.")
	descConfigs     = desc("config_refused_total", "Configurations, of the file or of ZooKeeper, that were refused: the old one stays.")
	descBuild       = desc("build_info", "1, with the version of pgroute.", "version")
)

// Describe implements prometheus.Collector.
func (metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descReads, descShadow, descFloorWait, descFallbacks, descRedo, descLag, descLost, descMaybe, descCommits, descWrites,
		descBad, descClients, descPins, descPinned, descPinChecks, descTickets, descPositions, descNudges, descReadings, descParked, descWaits, descHopeless, descStale, descRefused,
		descBudget, descFalling, descUp, descEpoch, descLeader, descChannels, descListeners, descNotified, descUnheard,
		descRelisten, descConfigs, descBuild, descPools, descPoolWaiting, descPoolWait, descPoolRefused, descGuardWaits, descGuardTime, descGuardOver, descLooks} {
		ch <- d
	}
	describeNodes(ch)
}

// Collect implements prometheus.Collector.
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	st := m.srv.Stats()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, r := range st.Reads {
		count(descReads, r.Count, r.Node, r.Role, r.Reason)
	}
	for _, r := range st.Shadow {
		count(descShadow, r.Count, r.Role, r.Reason)
	}
	for _, r := range st.Redo {
		count(descRedo, r.Count, r.SQLState)
	}
	for _, p := range st.Pins {
		count(descPins, p.Total, p.Reason)
		gauge(descPinned, float64(p.Clients), p.Reason)
	}
	count(descPinChecks, st.PinChecks)
	for why, n := range st.Router.Fallbacks {
		count(descFallbacks, n, why.String())
	}
	ch <- histogram(descFloorWait, &st.Router.FloorWait)
	for i := range st.Nodes {
		n := &st.Nodes[i]
		up := 0.0
		if n.Leads || n.Eligible {
			up = 1
		}
		gauge(descUp, up, n.Name, n.Role)
		if n.Watermark != 0 {
			gauge(descLag, float64(n.LagBytes), n.Name)
		}
	}
	collectNodes(ch, st.Nodes)
	pools := m.srv.Pools()
	for _, p := range pools.Nodes {
		gauge(descPools, float64(p.Active), p.Node, "active")
		gauge(descPools, float64(p.Idle), p.Node, "idle")
		gauge(descPools, float64(p.Used), p.Node, "used")
		gauge(descPools, float64(p.Opening), p.Node, "opening")
		gauge(descPoolWaiting, float64(p.Waiting), p.Node)
	}
	for _, r := range pools.Refused {
		count(descPoolRefused, r.Count, r.Limit)
	}
	ch <- histogram(descPoolWait, &pools.Waited)
	leads := 0.0
	if st.Leadership {
		leads = 1
	}
	gauge(descLeader, leads)
	gauge(descEpoch, float64(st.Epoch))
	gauge(descClients, float64(st.Clients))
	gauge(descFalling, float64(st.Router.FallbacksRunning))
	gauge(descBuild, 1, proxy.Version())
	count(descLost, st.Router.Lost)
	count(descMaybe, st.Router.MaybeLost)
	for o, n := range st.Router.Commits {
		count(descCommits, n, o.String())
	}
	gauge(descChannels, float64(st.Listen.Channels))
	gauge(descListeners, float64(st.Listen.Listeners))
	count(descNotified, st.Listen.Notifications)
	count(descUnheard, st.Listen.Dropped)
	count(descRelisten, st.Listen.Reconnects)
	count(descConfigs, m.refused.configs.Load())
	count(descWrites, st.Writes)
	count(descBad, st.Violations)
	count(descTickets, st.Router.Tickets)
	count(descPositions, st.Router.PositionCalls)
	count(descNudges, st.Router.Nudges)
	count(descReadings, st.Router.Readings)
	count(descParked, st.Router.Parked)
	count(descWaits, st.Router.Waits)
	count(descHopeless, st.Router.Hopeless)
	count(descStale, st.Router.Stale)
	count(descRefused, st.Router.Refused)
	count(descBudget, st.Router.BudgetFull)
	m.collectGuard(ch, &st.Router)
}

// histogram makes a metric of counts by upper bounds, of which there is one
// less.
func histogram(d *prometheus.Desc, h *router.Histogram) prometheus.Metric {
	buckets := make(map[float64]uint64, len(h.Bounds))
	var total uint64
	for i, n := range h.Counts {
		if total += n; i < len(h.Bounds) {
			buckets[h.Bounds[i].Seconds()] = total
		}
	}
	return prometheus.MustNewConstHistogram(d, total, h.Sum.Seconds(), buckets)
}
