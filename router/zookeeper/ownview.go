package zookeeper

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/router"
)

// ownView is pgroute's own layout.
type ownView struct {
	last
	path      string
	known     map[string]*knownNode
	begun     bool // it was read before
	primary   znode
	announced announcement
}

// knownNode is what is remembered of a node between two reads.
type knownNode struct {
	data []byte // as last read
	good bool   // node holds the last state that made sense
	node Node
	// ephemeral is true if its znode goes with its agent's session.
	ephemeral bool
	// refused is true while ZooKeeper does not show it.
	refused bool
}

func newOwnView(s *Source, publish func(router.Candidates)) view {
	return &ownView{last: last{cfg: &s.cfg, handOut: publish}, path: s.place.path, known: make(map[string]*knownNode)}
}

// haste implements view.
func (v *ownView) haste(path string) haste {
	switch {
	case path == v.decisive(), path == v.path+"/switchover":
		return atOnce
	case strings.HasPrefix(path, v.path+"/nodes"):
		return calm
	}
	return soon
}

// early implements view. Whoever has announced a switchover may not wait long
// for clients to notice, and a sync of ZooKeeper takes as long as its disk.
func (v *ownView) early(t *tree) (news bool, err error) {
	if !v.begun {
		return false, nil
	}
	if _, err := v.readAnnouncement(t); err != nil {
		return false, err
	}
	announced, which := v.announced.standing(v.value.Primary, v.primary)
	// That it is over is told together with who leads now.
	if announced.IsZero() || which == v.value.Announcement {
		return false, nil
	}
	v.value.Switchover, v.value.Announcement = announced, which
	return true, nil
}

// decisive implements view.
func (v *ownView) decisive() string { return v.path + "/primary" }

// read implements view.
func (v *ownView) read(t *tree, at time.Time) (changed bool, again time.Duration, err error) {
	primary, err := t.get(v.path + "/primary")
	if err != nil {
		return false, 0, err
	}
	names, err := t.children(v.path + "/nodes")
	if err != nil {
		return false, 0, err
	}
	var nodes []router.Candidate
	present := make(map[string]bool, len(names))
	for _, name := range names {
		z, err := t.getListed(v.path + "/nodes/" + name)
		if errors.Is(err, zk.ErrNoAuth) {
			present[name] = true
			if n, ok := v.refuse(name, err); ok {
				nodes = append(nodes, n.candidate(name))
			}
			again = lookAgain
			continue
		}
		if err != nil {
			return false, 0, err
		}
		if !z.exists {
			continue // It went while we read; the children's watch tells.
		}
		present[name] = true
		if n, ok := v.learn(name, z.data); ok {
			nodes = append(nodes, n.candidate(name))
		}
		v.known[name].ephemeral = z.ephemeral
	}
	settles := t.watches.settled(v.cfg.SessionTimeout).Sub(at)
	for name, k := range v.known {
		switch {
		case present[name]:
			continue
		case k.ephemeral && k.good && settles > 0:
			// Its agent has lost its session, and has not noticed yet.
			nodes = append(nodes, k.node.candidate(name))
			again = sooner(again, settles)
		default:
			delete(v.known, name)
		}
		t.forget(v.path + "/nodes/" + name)
	}
	refused, err := v.readAnnouncement(t)
	if err != nil {
		return false, 0, err
	}
	if refused {
		again = sooner(again, lookAgain)
	}
	slices.SortFunc(nodes, func(a, b router.Candidate) int { return strings.Compare(a.Name, b.Name) })
	now := router.Candidates{Nodes: nodes, NamesPrimary: true, Primary: strings.TrimSpace(string(primary.data))}
	v.primary = primary
	now.Switchover, now.Announcement = v.announced.standing(now.Primary, primary)
	changed = !v.begun || now.Primary != v.value.Primary || now.Announcement != v.value.Announcement || !slices.EqualFunc(now.Nodes, v.value.Nodes, sameCandidate)
	v.begun = true
	if changed {
		v.value = now
	}
	return changed, again, nil
}

func sameCandidate(a, b router.Candidate) bool {
	return a.Addr == b.Addr && a.Weight == b.Weight && a.Zone == b.Zone && a.NoReads == b.NoReads && maps.Equal(a.Tags, b.Tags)
}

// learn takes in the data of a node and returns its last good state, if there
// ever was one since the node appeared.
func (v *ownView) learn(name string, data []byte) (*Node, bool) {
	k := v.known[name]
	if k == nil {
		k = &knownNode{}
		v.known[name] = k
	} else if bytes.Equal(k.data, data) && !k.refused {
		return &k.node, k.good
	}
	k.data, k.refused = data, false
	n, err := parseNode(data)
	if err != nil {
		v.cfg.Logger.Warn("malformed node in ZooKeeper",
			slog.String("path", v.path+"/nodes/"+name), slog.Bool("keeps_last_state", k.good), slog.Any("error", err))
		v.cfg.Trace.BadNode(name, err)
		return &k.node, k.good
	}
	k.good, k.node = true, n
	return &k.node, true
}

// refuse is learn for a node that ZooKeeper does not show: it keeps its last
// good state, too.
func (v *ownView) refuse(name string, err error) (*Node, bool) {
	k := v.known[name]
	if k == nil {
		k = &knownNode{}
		v.known[name] = k
	}
	if !k.refused {
		k.refused = true
		v.cfg.Logger.Warn("ZooKeeper refuses to show a node",
			slog.String("path", v.path+"/nodes/"+name), slog.Bool("keeps_last_state", k.good), slog.Any("error", err))
		v.cfg.Trace.BadNode(name, err)
	}
	return &k.node, k.good
}
