package zookeeper

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/internal/cluster"
)

// grove is a tree and an operator who changes what it is a copy of.
type grove struct {
	*testing.T
	operator *zk.Conn
	w        *watches
	*tree
}

func newGrove(t *testing.T) *grove {
	if testing.Short() || !cluster.ZooKeeperInstalled() {
		t.Skip("needs ZooKeeper, and takes seconds")
	}
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{})
	g := &grove{T: t, w: newWatches(func(string) haste { return soon })}
	operator, _, err := zk.Connect([]string{z.Addr()}, time.Minute, zk.WithLogInfo(false))
	g.must(err)
	t.Cleanup(operator.Close)
	g.operator = operator
	g.must(operator.AddAuth("digest", []byte("operator:s3cret")))
	c, err := connect(t.Context(), []string{z.Addr()}, &Config{SessionTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler)}, g.w.onEvent)
	g.must(err)
	t.Cleanup(c.close)
	g.tree = newTree(c.Conn, g.w)
	return g
}

func (g *grove) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

func (g *grove) create(path string, acl []zk.ACL) {
	g.Helper()
	_, err := g.operator.Create(path, []byte("1"), 0, acl)
	g.must(err)
}

func (g *grove) set(path, text string) {
	g.Helper()
	_, err := g.operator.Set(path, []byte(text), -1)
	g.must(err)
}

func (g *grove) acl(path string, list []zk.ACL) {
	g.Helper()
	_, err := g.operator.SetACL(path, list, -1)
	g.must(err)
}

// begin begins a read that sees all that was done before.
func (g *grove) begin() {
	g.Helper()
	g.must(g.sync("/"))
	g.w.take()
	g.tree.begin()
}

// listed fails the test unless path is read as having those children.
func (g *grove) listed(path string, want ...string) {
	g.Helper()
	g.begin()
	if names, err := g.children(path); err != nil || !slices.Equal(names, want) {
		g.Fatalf("%s: %v, not %v: %v", path, names, want, err)
	}
}

// told waits until ZooKeeper has told of a change to path.
func (g *grove) told(path string, kind watchKind) {
	g.Helper()
	for end := time.After(30 * time.Second); g.w.set(path)&kind != 0; {
		select {
		case <-g.w.dirty:
		case <-end:
			g.Fatalf("nobody tells of the change of %s", path)
		}
	}
}

var everybody, operatorOnly = zk.WorldACL(zk.PermAll), zk.AuthACL(zk.PermAll)

// ZooKeeper takes a watch away without a word when it fires while we may not
// read the znode. What is read anew afterwards is watched again: the change
// after it is told of, and not first seen when everything is read once more.
func TestLostWatchIsSetAgain(t *testing.T) {
	g := newGrove(t)
	g.create("/list", everybody)
	g.create("/list/a", everybody)
	read := func() (text string, names []string, err error) {
		g.begin()
		node, err := g.getListed("/list/a")
		if err != nil {
			return "", nil, err
		}
		names, err = g.children("/list")
		return string(node.data), names, err
	}
	_, _, err := read()
	g.must(err)

	for _, refused := range []bool{false, true} {
		g.acl("/list", operatorOnly)
		g.acl("/list/a", operatorOnly)
		g.set("/list/a", "2")
		if refused {
			g.create("/list/c", everybody)
			g.w.distrust()
			if _, _, err := read(); err == nil {
				t.Fatal("read what may not be read")
			}
		} else {
			g.create("/list/b", everybody)
		}
		g.acl("/list", everybody)
		g.acl("/list/a", everybody)
		g.w.distrust() // as is done now and then
		text, names, err := read()
		g.must(err)
		want := []string{"a", "b"}
		if refused {
			want = []string{"a", "b", "c", "d"}
		}
		if text != "2" || !slices.Equal(names, want) {
			t.Fatalf("read %q and %v", text, names)
		}
		g.set("/list/a", "3")
		g.told("/list/a", watchData)
		g.create("/list/"+map[bool]string{false: "d", true: "e"}[refused], everybody)
		g.told("/list", watchChildren)
		if text, _, err = read(); text != "3" || err != nil {
			t.Fatalf("read %q: %v", text, err)
		}
	}
}

// So is a list from which a znode went and came back meanwhile, as an agent's
// does that is started again: it looks as it did.
func TestLostWatchOfAnEqualListIsSetAgain(t *testing.T) {
	g := newGrove(t)
	g.create("/list", everybody)
	g.create("/list/a", everybody)
	g.listed("/list", "a")
	g.acl("/list", operatorOnly)
	g.must(g.operator.Delete("/list/a", -1))
	g.create("/list/a", everybody)
	g.acl("/list", everybody)
	g.w.distrust()
	g.listed("/list", "a")
	g.create("/list/b", everybody)
	g.told("/list", watchChildren)
	g.listed("/list", "a", "b")
}

// The watch for a creation is lost if we may not read what was created. Once it
// is read, that watch is not taken for one that tells of its changes.
func TestLostWatchForACreation(t *testing.T) {
	g := newGrove(t)
	g.listed("/late")
	g.create("/late", operatorOnly)
	g.acl("/late", everybody)
	g.w.distrust()
	g.listed("/late")
	g.create("/late/a", everybody)
	g.told("/late", watchChildren)
	g.listed("/late", "a")
}
