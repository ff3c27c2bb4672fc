package zookeeper_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/router/zookeeper"
)

func TestParseMember(t *testing.T) {
	for _, tt := range []struct {
		reason string
		data   string
		want   string // HOST PORT ROLE STATE TIMELINE API, or part of the error
	}{
		{"Patroni 3", `{"conn_url":"postgres://10.0.0.1:5433/postgres","api_url":"http://10.0.0.1:8008/patroni","state":"running","role":"master","version":"3.0.2","xlog_location":11639032,"timeline":2}`,
			"10.0.0.1 5433 primary running 2 http://10.0.0.1:8008"},
		{"Patroni 4", `{"conn_url":"postgres://pg0:5432/postgres","state":"running","role":"primary","timeline":7,"replication_state":"streaming"}`, "pg0 5432 primary running 7 "},
		{"no port", `{"conn_url":"postgresql://pg0/postgres"}`, "pg0 5432   0 "},
		{"no database", `{"conn_url":"postgres://pg0:1"}`, "pg0 1   0 "},
		{"user and password", `{"conn_url":"postgres://u:p@x:y@pg0:1/db?sslmode=verify-full"}`, "pg0 1   0 "},
		{"IPv6", `{"conn_url":"postgres://[2001:db8::1]:5433/postgres"}`, "2001:db8::1 5433   0 "},
		{"IPv6 without a port", `{"conn_url":"postgres://[::1]/postgres"}`, "::1 5432   0 "},
		{"IPv6 with a zone", `{"conn_url":"postgres://[fe80::1%25eth0]:1/"}`, "fe80::1%eth0 1   0 "},
		{"several hosts", `{"conn_url":"postgres://a:1,b:2/postgres"}`, "a 1   0 "},
		{"a directory of sockets", `{"conn_url":"postgres://%2Fvar%2Frun:1/postgres"}`, "/var/run 1   0 "},
		{"conn_kwargs instead of conn_url", `{"conn_kwargs":{"host":"h","port":"7"},"state":"stopped"}`, "h 7  stopped 0 "},
		{"conn_kwargs without a port", `{"conn_kwargs":{"host":"h"}}`, "h 5432   0 "},
		{"Governor", `postgres://repl:secret@h:3/postgres?application_name=http://h:8008/governor`, "h 3   0 http://h:8008"},
		{"odd types elsewhere", `{"conn_url":"postgres://h:1/","timeline":"x","state":5,"role":null,"tags":[],"api_url":{}}`, "h 1  5 0 "},

		{"no address", `{"state":"running"}`, "no conn_url"},
		{"an empty address", `{"conn_url":""}`, "no conn_url"},
		{"conn_kwargs of another type", `{"conn_kwargs":"h"}`, "no conn_url"},
		{"no scheme", `{"conn_url":"h:1"}`, "not a connection string"},
		{"no host", `{"conn_url":"postgres://:1/"}`, "host is missing"},
		{"a host with a space", `{"conn_url":"postgres://a%20b:1/"}`, "malformed host"},
		{"port 0", `{"conn_url":"postgres://h:0/"}`, "port 0"},
		{"port too high", `{"conn_url":"postgres://h:65536/"}`, "malformed port"},
		{"port is a word", `{"conn_url":"postgres://h:pg/"}`, "malformed port"},
		{"half a bracket", `{"conn_url":"postgres://[::1:5432/"}`, "bracket"},
		{"something behind the bracket", `{"conn_url":"postgres://[::1]x/"}`, "behind"},
		{"a number", `5`, "parse member"},
		{"no JSON", `{`, "parse member"},
		{"nothing", ``, "parse member"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			m, err := zookeeper.ParseMember([]byte(tt.data))
			got := fmt.Sprintf("%s %d %s %s %d %s", m.Host, m.Port, m.Role, m.State, m.Timeline, m.API)
			if err != nil {
				got = err.Error()
				if !strings.Contains(got, tt.want) {
					t.Fatalf("error %q, want one with %q", got, tt.want)
				}
				return
			}
			if got != tt.want {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMemberErrorsKeepThePassword(t *testing.T) {
	for _, url := range []string{"postgres://u:s3cret@h:x/", "postgres://u:s3cret@[::1/", "postgres://u:s3cret@/", "u:s3cret@h"} {
		_, err := zookeeper.ParseMember([]byte(`{"conn_url":"` + url + `"}`))
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestMemberTags(t *testing.T) {
	m, err := zookeeper.ParseMember([]byte(`{"conn_url":"postgres://h/","tags":{"nofailover":true,"zone":"b","weight":3,"nested":{"a":1},"replicatefrom":"pg0","none":null}}`))
	must(t, err)
	want := map[string]string{"nofailover": "true", "zone": "b", "weight": "3", "replicatefrom": "pg0", "none": ""}
	if !maps.Equal(m.Tags, want) {
		t.Fatalf("tags %v, want %v", m.Tags, want)
	}
}
