package proxy_test

import (
	"strings"
	"testing"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

func TestExplain(t *testing.T) {
	tests := []struct{ sql, class, route string }{
		{"SELECT 1", "read", "a replica that has replayed all that the session wrote or saw (level session); after a wait of 100ms: the primary"},
		{"/* pgroute: strong wait=5ms on_timeout=error */ SELECT 1", "read",
			"a replica that has replayed everything acknowledged anywhere before the read (level strong); after a wait of 5ms: an error (PR001)"},
		{"/* pgroute: eventual */ SELECT 1", "read", "any healthy replica within max_lag; the primary if there is none (level eventual)"},
		{"/* pgroute: primary */ SELECT 1", "read", "the primary: the level is primary"},
		{"/* pgroute: wait=0 on_timeout=stale */ SELECT 1", "read",
			"a replica that has replayed all that the session wrote or saw (level session); without waiting for one: the nearest replica, with a WARNING"},
		{"", "read", "anywhere: there is nothing to run"},
		{"BEGIN", "transaction", "the primary, and with it the whole transaction: it does not say READ ONLY"},
		{"BEGIN READ ONLY", "transaction", "the transaction may run on a replica; where is decided at its first statement"},
		{"BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", "transaction", "the primary: a replica has no serializable transactions"},
		{"COMMIT", "transaction", "where the transaction runs; the primary if there is none"},
		{"SET search_path = a", "setting", "the primary answers it, and the setting follows the client to every server"},
		{"SET pgroute.consistency = strong", "local", "no server: pgroute answers it"},
		{"SHOW pgroute.token; SELECT 1", "local", "no server: an error (0A000), because pgroute's own statements must be sent alone"},
		{"INSERT INTO t VALUES (1)", "write", "the primary: it is not proven to be a read (command INSERT)"},
		{"PREPARE a AS SELECT 1", "prepared", "the primary; EXECUTE runs on any server, as what it prepares would"},
		{"EXECUTE a (1)", "prepared", "where what the client has prepared by that name would run"},
		{"EXECUTE a (nextval('s'))", "write", "the primary: it is not proven to be a read (command EXECUTE)"},
		{"SELECT 'x", "write", "the primary: it is not proven to be a read (syntax)"},
	}
	for _, tt := range tests {
		e := proxy.Explain(tt.sql, nil, proxy.Policy{})
		if e.Class != tt.class || e.Route != tt.route {
			t.Errorf("%q:\ngot  %s: %s\nwant %s: %s", tt.sql, e.Class, e.Route, tt.class, tt.route)
		}
	}
}

func TestExplainKnowsTransactionReads(t *testing.T) {
	policy := proxy.Policy{TransactionReads: proxy.ReadsUntilWrite}
	for sql, want := range map[string]bool{"BEGIN": true, "START TRANSACTION ISOLATION LEVEL READ COMMITTED": true, "BEGIN ISOLATION LEVEL REPEATABLE READ": false,
		"BEGIN READ ONLY": false} {
		if e := proxy.Explain(sql, nil, policy); strings.Contains(e.Route, "from its first write on") != want {
			t.Errorf("%s: %s", sql, e.Route)
		}
	}
}

func TestExplainSaysWhatItDoesNotKnow(t *testing.T) {
	e := proxy.Explain("SELECT * FROM t", nil, proxy.Policy{Consistency: router.LevelStrong})
	if e.Class != "write" || len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "catalogue is not known") {
		t.Errorf("%+v", e)
	}
	e = proxy.Explain("/* pgroute: perfect */ SELECT 1", nil, proxy.Policy{})
	if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], `"perfect" is not understood`) {
		t.Errorf("%+v", e)
	}
}
