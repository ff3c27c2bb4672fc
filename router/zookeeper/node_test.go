package zookeeper_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/router/zookeeper"
)

func TestParseNode(t *testing.T) {
	for _, tt := range []struct {
		reason, data string
		want         zookeeper.Node
		err          string
	}{
		{"the least", `{"host":"db1","port":5432}`, zookeeper.Node{Host: "db1", Port: 5432}, ""},
		{"everything", `{"host":"10.0.0.1","port":1,"weight":3,"zone":"a","tags":{"disk":"ssd"}}`,
			zookeeper.Node{Host: "10.0.0.1", Port: 1, Weight: 3, Zone: "a", Tags: map[string]string{"disk": "ssd"}}, ""},
		{"tags of other types", `{"host":"db1","port":5432,"tags":{"n":1.5,"b":true,"z":null,"e":"ä"}}`,
			zookeeper.Node{Host: "db1", Port: 5432, Tags: map[string]string{"n": "1.5", "b": "true", "z": "", "e": "ä"}}, ""},
		{"Unix socket", `{"host":"/run/postgresql","port":5432}`, zookeeper.Node{Host: "/run/postgresql", Port: 5432}, ""},
		{"a key of a later version", `{"host":"db1","port":5432,"color":["blue"]}`, zookeeper.Node{Host: "db1", Port: 5432}, ""},

		{"nothing", ``, zookeeper.Node{}, "parse node"},
		{"not JSON", `host=db1`, zookeeper.Node{}, "parse node"},
		{"null", `null`, zookeeper.Node{}, "host is missing"},
		{"a list", `[]`, zookeeper.Node{}, "parse node: it is of the wrong JSON type, array"},
		{"something after it", `{"host":"db1","port":5432} x`, zookeeper.Node{}, "parse node"},
		{"no host", `{"port":5432}`, zookeeper.Node{}, "host is missing"},
		{"several hosts", `{"host":"a,b","port":5432}`, zookeeper.Node{}, "malformed host"},
		{"host with a line end", `{"host":"a\n","port":5432}`, zookeeper.Node{}, "malformed host"},
		{"no port", `{"host":"db1"}`, zookeeper.Node{}, "port 0"},
		{"port too large", `{"host":"db1","port":65536}`, zookeeper.Node{}, "port 65536"},
		{"port is text", `{"host":"db1","port":"5432"}`, zookeeper.Node{}, "parse node: port is of the wrong JSON type, string"},
		{"port is a fraction", `{"host":"db1","port":5432.5}`, zookeeper.Node{}, "parse node"},
		{"negative weight", `{"host":"db1","port":5432,"weight":-1}`, zookeeper.Node{}, "negative"},
		{"a tag that is a list", `{"host":"db1","port":5432,"tags":{"x":[1]}}`, zookeeper.Node{}, `tag "x"`},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			got, err := zookeeper.ParseNode([]byte(tt.data))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzParseNode(f *testing.F) {
	f.Add([]byte(`{"host":"10.0.0.1","port":1,"weight":3,"zone":"a","tags":{"disk":"ssd","n":1}}`))
	f.Add([]byte(`{"tags":{"a":`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := zookeeper.ParseNode(data)
		if err != nil {
			return
		}
		if n.Host == "" || n.Port < 1 || n.Port > 65535 || n.Weight < 0 {
			t.Fatalf("accepted %+v", n)
		}
		written, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		again, err := zookeeper.ParseNode(written)
		if err != nil {
			t.Fatalf("what was accepted is refused after writing it: %v", err)
		}
		if len(n.Tags) == 0 {
			n.Tags = nil
		}
		if !reflect.DeepEqual(n, again) {
			t.Fatalf("%+v became %+v", n, again)
		}
	})
}
