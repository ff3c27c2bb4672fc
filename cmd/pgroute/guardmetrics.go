package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgroute/pgroute/router"
)

// What reads on the primary wait for whose clients have read on a replica.
var (
	descGuardWaits = desc("guard_waits_total", "Reads that waited because the primary was not known to show what their client saw on a replica.")
	descGuardTime  = desc("guard_wait_seconds_total", "How long they waited, together.")
	descGuardOver  = desc("guard_expired_total",
		"Reads whose time was over then: unproven (nobody could say, and they went on), stale (by on_timeout), refused.", "outcome")
	descLooks = desc("guard_looks_total", "Questions to replicas what they show that the primary may hide.")
)

// collectGuard sends the metrics of the guard.
func (metrics) collectGuard(ch chan<- prometheus.Metric, st *router.Stats) {
	count := func(d *prometheus.Desc, n float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, n, labels...)
	}
	count(descGuardWaits, float64(st.GuardWaits))
	count(descGuardTime, st.GuardWaitSum.Seconds())
	count(descGuardOver, float64(st.GuardUnproven), "unproven")
	count(descGuardOver, float64(st.GuardStale), "stale")
	count(descGuardOver, float64(st.GuardRefused), "refused")
	count(descLooks, float64(st.Looks))
}
