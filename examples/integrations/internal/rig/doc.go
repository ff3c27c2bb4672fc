// Package rig runs one test over the two ways in which a service reaches a
// cluster: through the sidecar, which is pgroute's proxy in this process, and
// through the library, package pgxdb. Behind both stands the same real
// PostgreSQL primary with two replicas.
//
//	rig.Run(t, func(t *testing.T, w *rig.Way) {
//		w.Exec(t, Schema)
//		rig.Check(t, w, func(t *testing.T, w *rig.Way) rig.Store { … })
//	})
package rig
