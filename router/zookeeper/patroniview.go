package zookeeper

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// grace is how long a member whose znode is gone is still listed. Older
// versions of Patroni write a change by deleting the znode and making it
// again, and a restarted Patroni makes it anew for its new session.
const grace = time.Second

// lookAgain is how long until a key that ZooKeeper refuses is tried again.
const lookAgain = 5 * time.Second

// errUnsettled is why nothing is published right after ZooKeeper's return.
var errUnsettled = errors.New("ZooKeeper is back, and what it has lost is not")

// maxMembers bounds how many members are read (I7). The router takes fewer.
const maxMembers = 256

// patroniView is Patroni's layout. The keys status, optime/leader and failsafe
// are not read: the first two tell positions, which only a server may tell,
// and are rewritten all the time; failsafe tells REST addresses.
type patroniView struct {
	last
	path    string
	members map[string]*patroniMember
	begun   bool // it was read before
	told    map[string]string

	leader     patroniKey[string]
	config     patroniKey[patroniConfig]
	sync       patroniKey[patroniSync]
	failover   patroniKey[router.Switchover]
	history    patroniKey[[]lsn.Switch]
	initialize patroniKey[uint64]
}

// patroniKey is what is remembered of one key: its data as last read, and the
// last value that made sense.
type patroniKey[T any] struct {
	exists bool
	data   []byte
	value  T
}

// patroniMember is what is remembered of a member.
type patroniMember struct {
	data []byte
	good bool // candidate holds the last state that made sense
	gone time.Time
	role string
	router.Candidate
}

func newPatroniView(s *Source, publish func(router.Candidates)) view {
	return &patroniView{last: last{cfg: &s.cfg, handOut: publish}, path: s.place.path,
		members: make(map[string]*patroniMember), told: make(map[string]string)}
}

// haste implements view. From the announcement of a switchover to the stop of the
// primary there may be a twentieth of a second; members are rewritten in every
// loop of Patroni.
func (v *patroniView) haste(path string) haste {
	switch {
	case path == v.decisive(), path == v.path+"/failover":
		return atOnce
	case strings.HasPrefix(path, v.path+"/members"):
		return calm
	}
	return soon
}

// decisive implements view.
func (v *patroniView) decisive() string { return v.path + "/leader" }

// early implements view. A sync of ZooKeeper takes as long as its disk, and
// Patroni does not wait for anybody when it has announced a switchover.
func (v *patroniView) early(t *tree) (news bool, err error) {
	if !v.begun {
		return false, nil
	}
	if err := v.readFailover(t); err != nil && !errors.Is(err, zk.ErrNoAuth) {
		return false, err
	}
	announced := switchover(v.failover.value, v.leader.value)
	// That it is over is told together with who leads now.
	if announced.IsZero() || announced == v.value.Switchover {
		return false, nil
	}
	v.value.Switchover = announced
	return true, nil
}

func (v *patroniView) readFailover(t *tree) error {
	return readKey(v, t, &v.failover, "failover", parsePatroniFailover)
}

// read implements view.
func (v *patroniView) read(t *tree, now time.Time) (changed bool, again time.Duration, err error) {
	// First what decides: without it nothing is known.
	z, err := t.get(v.path + "/leader")
	if err != nil {
		return false, 0, err
	}
	settles := t.watches.settled(v.cfg.SessionTimeout).Sub(now)
	if !z.exists && v.leader.exists && v.config.value.failsafe && settles > 0 {
		// In failsafe mode the leader has gone on without its key. Until Patroni
		// has had the time to make it again, ZooKeeper says nothing: the servers
		// have to prove it.
		return false, 0, errUnsettled
	}
	// Fail closed: who leads by a name that is none is nobody.
	if !learn(v, &v.leader, "leader", z, parseLeader) {
		v.leader.value = ""
	}
	wait, err := v.readMembers(t, now)
	if err != nil {
		return false, 0, err
	}
	for _, read := range []func(*tree) error{
		func(t *tree) error { return readKey(v, t, &v.initialize, "initialize", parseSystemID) },
		func(t *tree) error { return readKey(v, t, &v.config, "config", parsePatroniConfig) },
		v.readFailover,
		func(t *tree) error { return readKey(v, t, &v.sync, "sync", parsePatroniSync) },
		func(t *tree) error { return readKey(v, t, &v.history, "history", v.parseHistory) },
	} {
		switch err := read(t); {
		case errors.Is(err, zk.ErrNoAuth):
			wait = sooner(wait, lookAgain)
		case err != nil:
			return false, 0, err
		}
	}
	c := v.candidates()
	changed = !v.begun || !sameCandidates(&c, &v.value)
	v.begun = true
	if changed {
		v.value = c
	}
	return changed, wait, nil
}

// readKey reads one key. That ZooKeeper refuses to show it is told once, and
// what was known of it stays.
func readKey[T any](v *patroniView, t *tree, k *patroniKey[T], name string, parse func([]byte) (T, error)) error {
	z, err := t.get(v.path + "/" + name)
	switch {
	case errors.Is(err, zk.ErrNoAuth):
		v.tell(name, "ZooKeeper refuses to show a key of Patroni", err)
		return err
	case err == nil:
		learn(v, k, name, z, parse)
	}
	return err
}

// learn takes in the data of a key. It reports false if that is malformed:
// then the last good value stays. Of a key that does not exist the value is
// zero.
func learn[T any](v *patroniView, k *patroniKey[T], name string, z znode, parse func([]byte) (T, error)) bool {
	if !z.exists {
		*k = patroniKey[T]{}
		delete(v.told, name)
		return true
	}
	if k.exists && bytes.Equal(k.data, z.data) {
		return v.told[name] == ""
	}
	k.exists, k.data = true, z.data
	value, err := parse(z.data)
	if err != nil {
		v.tell(name, "malformed key of Patroni in ZooKeeper", err)
		return false
	}
	k.value = value
	delete(v.told, name)
	return true
}

// tell tells once what is wrong with a key, as long as that does not change.
func (v *patroniView) tell(name, what string, err error) {
	if v.told[name] == err.Error() {
		return
	}
	v.told[name] = err.Error()
	stands := "what was known of it stands"
	if name == "leader" {
		stands = "until it is mended nobody leads"
	}
	v.cfg.Logger.Warn(what+"; "+stands, slog.String("path", v.path+"/"+name), slog.Any("error", err))
	v.cfg.Trace.BadNode(strings.TrimPrefix(name, "members/"), err)
}

// parseHistory refuses a history that has become shorter: the cluster's own
// timelines never do, unless it is another cluster.
func (v *patroniView) parseHistory(data []byte) ([]lsn.Switch, error) {
	list, err := parsePatroniHistory(data)
	if err != nil {
		return nil, err
	}
	if old := v.history.value; len(old) > 0 && v.value.SystemID == v.initialize.value {
		before := old[len(old)-1].Timeline
		if len(list) == 0 || list[len(list)-1].Timeline < before {
			return nil, fmt.Errorf("it ends before timeline %d, which was there", before)
		}
	}
	return list, nil
}

// readMembers brings the members up to date. It returns after what time that
// must be done again, 0 for never.
func (v *patroniView) readMembers(t *tree, now time.Time) (wait time.Duration, err error) {
	names, err := t.children(v.path + "/members")
	if err != nil {
		return 0, err
	}
	if len(names) > maxMembers {
		v.tell("members", "too many members", fmt.Errorf("%d of them, %d are read", len(names), maxMembers))
		names = names[:maxMembers]
	}
	for _, name := range names {
		z, err := t.getListed(v.path + "/members/" + name)
		switch {
		case errors.Is(err, zk.ErrNoAuth):
			v.tell("members/"+name, "ZooKeeper refuses to show a member of Patroni", err)
			v.member(name).data = nil // so that it is read again from scratch
			wait = sooner(wait, lookAgain)
		case err != nil:
			return 0, err
		case z.exists:
			v.learnMember(name, z.data)
		}
	}
	for name, m := range v.members {
		path := v.path + "/members/" + name
		if slices.Contains(names, name) {
			m.gone = time.Time{}
			continue
		}
		if m.gone.IsZero() {
			m.gone = now
			t.forget(path)
		}
		// Its address is still of use while it is said to lead.
		if left := max(m.gone.Add(grace).Sub(now), t.watches.settled(v.cfg.SessionTimeout).Sub(now)); left > 0 {
			wait = sooner(wait, left)
		} else if name != v.leader.value {
			delete(v.members, name)
			delete(v.told, "members/"+name)
		}
	}
	return wait, nil
}

// member returns what is remembered of a member, nothing at first.
func (v *patroniView) member(name string) *patroniMember {
	m := v.members[name]
	if m == nil {
		m = &patroniMember{}
		v.members[name] = m
	}
	return m
}

// learnMember takes in a member's data.
func (v *patroniView) learnMember(name string, data []byte) {
	m := v.member(name)
	if m.data != nil && bytes.Equal(m.data, data) {
		return
	}
	m.data = append([]byte{}, data...)
	parsed, err := parseMember(data)
	if err == nil {
		err = checkMember(name)
	}
	if err != nil {
		v.tell("members/"+name, "malformed member of Patroni in ZooKeeper", err)
		return
	}
	delete(v.told, "members/"+name)
	m.good, m.role, m.Candidate = true, parsed.Role, parsed.candidate(name)
}

// candidates puts together what is known.
func (v *patroniView) candidates() router.Candidates {
	leader := v.leader.value
	c := router.Candidates{
		NamesPrimary: true,
		Primary:      leader,
		SystemID:     v.initialize.value,
		Switchover:   switchover(v.failover.value, leader),
		Management: router.Management{
			Manager:  "Patroni",
			Paused:   v.config.value.paused,
			Failsafe: v.config.value.failsafe,
			Standby:  v.config.value.standby,
			History:  v.history.value,
		},
	}
	for name, m := range v.members {
		if m.good {
			c.Nodes = append(c.Nodes, m.Candidate)
		}
		if name == leader && m.role == "standby_leader" && v.config.value.standby {
			c.Primary = ""
			c.Reason = leader + " leads a standby cluster, which follows another cluster and takes no writes"
		}
	}
	slices.SortFunc(c.Nodes, func(a, b router.Candidate) int { return strings.Compare(a.Name, b.Name) })
	// Just after a failover the key may still be the old leader's.
	if s := &v.sync.value; s.leader != "" && strings.EqualFold(s.leader, leader) {
		c.Management.Synchronous = router.Synchronous{Standbys: without(s.standbys, leader), Quorum: s.quorum}
	}
	if leader == "" {
		c.Reason = v.leaderless()
	}
	return c
}

// leaderless says why nobody leads.
func (v *patroniView) leaderless() string {
	switch {
	case v.told["leader"] != "":
		return "Patroni's key leader is malformed: " + v.told["leader"]
	case len(v.members) == 0 && !v.config.exists && !v.initialize.exists:
		return "there is no Patroni below " + v.path + " in ZooKeeper"
	case v.config.value.paused:
		return "Patroni has no leader, and is paused: nobody takes over"
	}
	return "Patroni has no leader"
}

func sameCandidates(a, b *router.Candidates) bool {
	return a.Primary == b.Primary && a.Reason == b.Reason && a.SystemID == b.SystemID && a.Switchover == b.Switchover &&
		slices.EqualFunc(a.Nodes, b.Nodes, sameCandidate) && a.Management.Equal(&b.Management)
}

// sooner returns the shorter of two pauses, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
