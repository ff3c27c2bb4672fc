package zookeeper

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/internal/cluster"
)

// ZooKeeper takes a watch away without a word when it fires while we may not
// read the znode. What is read anew afterwards is watched again: the change
// after it is told of, and not first seen when everything is read once more.
func TestLostWatchIsSetAgain(t *testing.T) {
	if testing.Short() || !cluster.ZooKeeperInstalled() {
		t.Skip("needs ZooKeeper, and takes seconds")
	}
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	operator, _, err := zk.Connect([]string{z.Addr()}, time.Minute, zk.WithLogInfo(false))
	must(err)
	defer operator.Close()
	must(operator.AddAuth("digest", []byte("operator:s3cret")))
	create := func(path, text string) {
		t.Helper()
		_, err := operator.Create(path, []byte(text), 0, zk.WorldACL(zk.PermAll))
		must(err)
	}
	set := func(path, text string) {
		t.Helper()
		_, err := operator.Set(path, []byte(text), -1)
		must(err)
	}
	acl := func(path string, list []zk.ACL) {
		t.Helper()
		_, err := operator.SetACL(path, list, -1)
		must(err)
	}
	create("/list", "")
	create("/list/a", "1")

	w := newWatches(func(string) haste { return soon })
	c, err := connect(t.Context(), []string{z.Addr()}, &Config{SessionTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler)}, w.onEvent)
	must(err)
	defer c.close()
	defer context.AfterFunc(t.Context(), c.close)()
	tree := newTree(c.Conn, w)
	read := func() (text string, names []string, err error) {
		must(tree.sync("/"))
		w.take()
		tree.begin()
		node, err := tree.getListed("/list/a")
		if err != nil {
			return "", nil, err
		}
		names, err = tree.children("/list")
		return string(node.data), names, err
	}
	// told waits until ZooKeeper has told of a change to path.
	told := func(path string, kind watchKind) {
		t.Helper()
		for end := time.After(30 * time.Second); w.set(path)&kind != 0; {
			select {
			case <-w.dirty:
			case <-end:
				t.Fatalf("nobody tells of the change of %s", path)
			}
		}
	}
	_, _, err = read()
	must(err)

	for _, refused := range []bool{false, true} {
		acl("/list", zk.AuthACL(zk.PermAll))
		acl("/list/a", zk.AuthACL(zk.PermAll))
		set("/list/a", "2")
		if refused {
			create("/list/c", "")
			w.distrust()
			if _, _, err := read(); err == nil {
				t.Fatal("read what may not be read")
			}
		} else {
			create("/list/b", "")
		}
		acl("/list", zk.WorldACL(zk.PermAll))
		acl("/list/a", zk.WorldACL(zk.PermAll))
		w.distrust() // as is done now and then
		text, names, err := read()
		must(err)
		want := []string{"a", "b"}
		if refused {
			want = []string{"a", "b", "c", "d"}
		}
		if text != "2" || !slices.Equal(names, want) {
			t.Fatalf("read %q and %v", text, names)
		}
		set("/list/a", "3")
		told("/list/a", watchData)
		create("/list/"+map[bool]string{false: "d", true: "e"}[refused], "")
		told("/list", watchChildren)
		if text, _, err = read(); text != "3" || err != nil {
			t.Fatalf("read %q: %v", text, err)
		}
	}
}
