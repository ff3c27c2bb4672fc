package zookeeper_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/router/zookeeper"
)

func TestNewChecksTheConfiguration(t *testing.T) {
	for _, tt := range []struct {
		reason string
		cfg    zookeeper.Config
		want   string // part of the error, "" for none
	}{
		{"one host, default port", zookeeper.Config{Hosts: "zk", Path: "/p"}, ""},
		{"several hosts and a chroot", zookeeper.Config{Hosts: "h1:2181, h2:2182/base/x", Path: "/p"}, ""},
		{"chroot of one slash", zookeeper.Config{Hosts: "h1/", Path: "/p"}, ""},
		{"path is the root", zookeeper.Config{Hosts: "h1", Path: "/"}, ""},
		{"slash at the end", zookeeper.Config{Hosts: "h1", Path: "/a/b/"}, ""},
		{"IPv6", zookeeper.Config{Hosts: "::1,[::1],[::1]:2181", Path: "/p"}, ""},
		{"digest", zookeeper.Config{Hosts: "h1", Path: "/p", Auth: "u:p:w"}, ""},

		{"no hosts", zookeeper.Config{Path: "/p"}, "a host is empty"},
		{"an empty host", zookeeper.Config{Hosts: "h1,,h2", Path: "/p"}, "a host is empty"},
		{"only a chroot", zookeeper.Config{Hosts: "/base", Path: "/p"}, "a host is empty"},
		{"bad port", zookeeper.Config{Hosts: "h1:70000", Path: "/p"}, "between 1 and 65535"},
		{"port is a word", zookeeper.Config{Hosts: "h1:zk", Path: "/p"}, "between 1 and 65535"},
		{"host with a space", zookeeper.Config{Hosts: "h 1:2181", Path: "/p"}, "malformed host"},
		{"relative path", zookeeper.Config{Hosts: "h1", Path: "p"}, "begin with a slash"},
		{"no path", zookeeper.Config{Hosts: "h1"}, "begin with a slash"},
		{"empty name in the path", zookeeper.Config{Hosts: "h1", Path: "/a//b"}, "malformed znode name"},
		{"dots in the path", zookeeper.Config{Hosts: "h1", Path: "/a/../b"}, "malformed znode name"},
		{"dots in the chroot", zookeeper.Config{Hosts: "h1/.", Path: "/a"}, "malformed znode name"},
		{"password alone", zookeeper.Config{Hosts: "h1", Path: "/p", Auth: "secret"}, "USER:PASSWORD"},
		{"tiny session timeout", zookeeper.Config{Hosts: "h1", Path: "/p", SessionTimeout: time.Millisecond}, "session timeout"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			_, err := zookeeper.New(tt.cfg)
			switch {
			case tt.want == "" && err != nil:
				t.Fatalf("New: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("New: error %v, want one with %q", err, tt.want)
			}
			if err != nil && tt.cfg.Auth != "" && strings.Contains(err.Error(), tt.cfg.Auth) {
				t.Fatalf("the error tells the secret: %v", err)
			}
		})
	}
}

func FuzzNew(f *testing.F) {
	f.Add("h1:2181,h2/chroot", "/p")
	f.Add("[::1]:2181", "/")
	f.Add("h1:1:2", "//")
	f.Add("/", "/\x00")
	f.Fuzz(func(t *testing.T, hosts, path string) {
		_, _ = zookeeper.New(zookeeper.Config{Hosts: hosts, Path: path})
	})
}
