package registry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/examples/booking/internal/registry"
	"github.com/pgroute/pgroute/router"
)

func TestParseSettings(t *testing.T) {
	def := registry.DefaultSettings
	for _, tt := range []struct {
		text string
		want registry.Settings
		err  string
	}{
		{"", def, ""},
		{"# nothing\n", def, ""},
		{"consistency: strong", registry.Settings{Consistency: router.LevelStrong, Wait: def.Wait, OnTimeout: def.OnTimeout}, ""},
		{"{consistency: eventual, wait: 1500ms, on_timeout: stale}",
			registry.Settings{Consistency: router.LevelEventual, Wait: 1500 * time.Millisecond, OnTimeout: router.OnTimeoutStale}, ""},
		{"wait: 0s", registry.Settings{Consistency: def.Consistency, OnTimeout: def.OnTimeout}, ""},
		{"consistency: sometimes", registry.Settings{}, `unknown consistency level "sometimes"`},
		{"consistncy: strong", registry.Settings{}, "unknown field"},
		{"wait: soon", registry.Settings{}, "wait: "},
		{"wait: -1s", registry.Settings{}, "not between"},
		{"wait: 1h", registry.Settings{}, "not between"},
		{"on_timeout: cry", registry.Settings{}, `unknown on_timeout policy "cry"`},
		{"consistency: [strong]", registry.Settings{}, "cannot unmarshal"},
		{"wait: [", registry.Settings{}, "sequence end"},
		{strings.Repeat("#", 1<<20), registry.Settings{}, "too long"},
	} {
		got, err := registry.ParseSettings([]byte(tt.text))
		if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%.40q: %v, want %q", tt.text, err, tt.err)
		}
		if err == nil && got != tt.want {
			t.Errorf("%.40q: %+v, want %+v", tt.text, got, tt.want)
		}
		if err == nil {
			if again, err := registry.ParseSettings(got.YAML()); err != nil || again != got {
				t.Errorf("%+v is written as %s, which is read as %+v (%v)", got, got.YAML(), again, err)
			}
		}
	}
}

func TestNamesAndPathsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		servers, path, name, want string
	}{
		{"zk:2181", "/booking", "a", ""},
		{"", "/booking", "a", "no ZooKeeper servers"},
		{"zk:2181,", "/booking", "a", "no ZooKeeper servers"},
		{"zk:2181", "booking", "a", "not the path"},
		{"zk:2181", "/", "a", "not the path"},
		{"zk:2181", "/booking/", "a", "not the path"},
		{"zk:2181", "/a//b", "a", "not the path"},
		{"zk:2181", "/booking", "", "cannot be the name"},
		{"zk:2181", "/booking", "..", "cannot be the name"},
		{"zk:2181", "/booking", "a/b", "cannot be the name"},
		{"zk:2181", "/booking", "a b", "cannot be the name"},
	} {
		_, err := registry.New(tt.servers, tt.path, &registry.Instance{Name: tt.name}, nil)
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
