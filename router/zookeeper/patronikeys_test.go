package zookeeper_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/router/zookeeper"
)

func TestPatroniKeys(t *testing.T) {
	for _, tt := range []struct {
		key, data, want string // want is what is understood, or part of an error after "error: "
	}{
		{"initialize", "7710947357183970915", "7710947357183970915"},
		{"initialize", "", "0"},
		{"initialize", "12x", "error: system identifier"},

		{"leader", "pg0", "pg0"},
		{"leader", " pg0\n", "pg0"},
		{"leader", "", "error: malformed"},
		{"leader", "a/b", "error: malformed"},
		{"leader", "\xff", "error: not the name"},
		{"leader", strings.Repeat("a", 1<<11), "error: not the name"},

		{"config", `{"ttl":30,"pause":true,"failsafe_mode":"on","synchronous_mode":"quorum"}`, "paused failsafe synchronous"},
		{"config", `{"pause":"false","standby_cluster":{"host":"h"},"synchronous_mode":"off"}`, "standby"},
		{"config", `{"standby_cluster":{"create_replica_methods":["x"]}}`, ""},
		{"config", `{"standby_cluster":null,"pause":null}`, ""},
		{"config", "", ""},
		{"config", "[1]", "error: "},
		{"config", "{", "error: "},

		{"sync", `{"leader":"pg2","quorum":0,"sync_standby":"pg0, pg1,"}`, "pg2 [pg0 pg1] 0"},
		{"sync", `{"leader":"pg2","quorum":1,"sync_standby":"pg0,pg1"}`, "pg2 [pg0 pg1] 1"},
		{"sync", `{"leader":"pg2","sync_standby":null}`, "pg2 [] 0"},
		{"sync", `{}`, " [] 0"},
		{"sync", `{"leader":null,"quorum":"many"}`, " [] 0"},
		{"sync", `{"leader":"a","quorum":-1}`, "error: quorum"},
		{"sync", `"x"`, "error: "},

		{"failover", `{"leader":"pg0","member":"pg1"}`, "pg0 pg1 -"},
		{"failover", `{"leader":"pg1","member":"pg0","scheduled_at":"2026-11-22T12:54:25+00:00"}`, "pg1 pg0 2026-11-22T12:54:25Z"},
		{"failover", `{"leader":"pg1","scheduled_at":"2026-11-22 14:54:25.5+02:00"}`, "pg1  2026-11-22T12:54:25.5Z"},
		{"failover", `{"scheduled_at":"2026-11-22T12:54:25+00:00"}`, "  -"},
		{"failover", `{"member":"pg1"}`, " pg1 -"},
		{"failover", `{}`, "  -"},
		{"failover", `null`, "  -"},
		{"failover", ``, "  -"},
		{"failover", `pg0:pg1`, "pg0 pg1 -"},
		{"failover", `pg0`, "pg0  -"},
		{"failover", `[1]x/`, "error: neither"},
		{"failover", `{"leader":"pg0","scheduled_at":"tomorrow"}`, "error: time"},

		{"history", `[[1,11639384,"no recovery target specified","2026-11-22T10:54:18.434259+00:00","pg1"],[2,11641032,"x"]]`, "[{1 0/0 0/B19A58} {2 0/B19A58 0/B1A0C8}]"},
		{"history", `[[5,100,"x"],[7,200,"x"]]`, "[{5 0/0 0/64} {7 0/64 0/C8}]"},
		{"history", `[]`, "[]"},
		{"history", ``, "[]"},
		{"history", `[[1]]`, "error: line 1"},
		{"history", `[["a",1,""]]`, "error: line 1"},
		{"history", `[[1,-1,""]]`, "error: line 1"},
		{"history", `[[0,1,""]]`, "error: line 1"},
		{"history", `[[2,5,""],[2,6,""]]`, "error: line 2"},
		{"history", `[[2,5,""],[3,4,""]]`, "[{2 0/0 0/4} {3 0/5 0/4}]"},
		{"history", `{"a":1}`, "error: "},
	} {
		t.Run(tt.key+" "+tt.data[:min(len(tt.data), 40)], func(t *testing.T) {
			got, err := zookeeper.ParsePatroniKey(tt.key, []byte(tt.data))
			part, fails := strings.CutPrefix(tt.want, "error: ")
			switch {
			case fails && (err == nil || !strings.Contains(err.Error(), part)):
				t.Fatalf("got %q, %v, want an error with %q", got, err, part)
			case !fails && (err != nil || got != tt.want):
				t.Fatalf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// FuzzPatroni feeds the readers of all of Patroni's keys with the same bytes:
// whatever they are, nothing panics, and what is taken for good can be used.
func FuzzPatroni(f *testing.F) {
	for _, trees := range patroniTrees(f) {
		for _, tree := range trees {
			for _, data := range tree.ZNodes {
				f.Add([]byte(data))
			}
		}
	}
	f.Add([]byte(`postgres://u:p@[::1%25]:5/x?application_name=%zz`))
	f.Add([]byte(`{"conn_url":"postgres://[","conn_kwargs":{"host":[]},"tags":{"":{}}}`))
	f.Add([]byte(strings.Repeat("[", 1<<12)))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, key := range zookeeper.PatroniKeys {
			_, _ = zookeeper.ParsePatroniKey(key, data)
		}
		m, err := zookeeper.ParseMember(data)
		if err == nil && (m.Host == "" || m.Port < 1 || m.Port > 65535 || strings.ContainsAny(m.Host, ", \x00")) {
			t.Fatalf("%q makes %+v", data, m)
		}
		if err != nil && len(fmt.Sprint(err)) > 1<<10+2*len(data) {
			t.Fatalf("an error of %d bytes for %d bytes", len(fmt.Sprint(err)), len(data))
		}
	})
}
