package proxy_test

import "testing"

// Drivers begin read-only transactions in either protocol. What only the
// primary can tell is told in both.
func TestReadOnlyTransactionAsksServerState(t *testing.T) {
	c := use(t, plain).connect(t, "").PgConn()
	for _, isolation := range []string{"read committed", "repeatable read"} {
		for range 3 { // the first may run elsewhere than those that follow
			for _, sql := range []string{"begin isolation level " + isolation + ", read only", "select current_setting('transaction_read_only')", "commit"} {
				r := c.ExecParams(t.Context(), sql, nil, nil, nil, nil).Read()
				if r.Err != nil {
					t.Fatalf("%s: %v", sql, r.Err)
				}
				if len(r.Rows) > 0 && string(r.Rows[0][0]) != "on" {
					t.Errorf("%s gives %q in a read-only transaction", sql, r.Rows[0][0])
				}
			}
		}
	}
}
