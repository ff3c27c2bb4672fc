package zookeeper

import "testing"

func TestWhySomeServeNoReads(t *testing.T) {
	for _, tt := range []struct{ data, want string }{
		{`"tags":{"nostream":true}`, "tag nostream: it has no WAL receiver"},
		{`"tags":{"nostream":"yes","noloadbalance":true}`, "tag noloadbalance"},
		{`"tags":{"nostream":false}`, ""},
		{`"state":"stopped"`, "state stopped"},
	} {
		m, err := parseMember([]byte(`{"conn_url":"postgres://h/",` + tt.data + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.noReads(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.data, got, tt.want)
		}
	}
}
