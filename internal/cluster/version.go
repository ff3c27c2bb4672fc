package cluster

import (
	"context"
	"fmt"
)

// Version is the major version of the cluster's PostgreSQL, 17 for 17.4.
func (c *Cluster) Version(ctx context.Context) (int, error) {
	text, err := c.Primary().QueryString(ctx, "SELECT pg_catalog.current_setting('server_version_num')")
	if err != nil {
		return 0, err
	}
	var number int
	if _, err := fmt.Sscan(text, &number); err != nil {
		return 0, fmt.Errorf("server_version_num is %q: %w", text, err)
	}
	return number / 10000, nil
}

// EndBackends ends the server processes that the SQL condition on
// pg_stat_activity is true for, and returns when they are gone.
// pg_terminate_backend waits by itself only since PostgreSQL 14.
func (n *Node) EndBackends(ctx context.Context, condition string) error {
	return poll(ctx, "end the server processes of "+n.Name, func() (bool, error) {
		left, err := n.QueryString(ctx, "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid))::text FROM pg_catalog.pg_stat_activity"+
			" WHERE pid <> pg_catalog.pg_backend_pid() AND ("+condition+")")
		return left == "0", err
	})
}
