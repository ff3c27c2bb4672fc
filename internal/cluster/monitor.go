package cluster

import _ "embed"

// MonitorSQL creates the least-privilege role with which pgroute watches a
// cluster, and the two functions that the role may call. Every cluster has
// them in the databases postgres and app; other clusters get them from their
// administrator, who is shown this text.
//
//go:embed monitor.sql
var MonitorSQL string
