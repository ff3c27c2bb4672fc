package zookeeper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/router"
)

// announcement is what is remembered of PATH/switchover.
type announcement struct {
	znode                   // as last read
	value router.Switchover // what it said when it last made sense
	told  string            // what was wrong with it, as last told
}

// parseAnnouncement reads PATH/switchover. An empty object announces nothing.
// Unknown keys are ignored, since a later version may write them.
func parseAnnouncement(data []byte) (router.Switchover, error) {
	var raw map[string]json.RawMessage
	if err := unmarshalObject(data, &raw); err != nil || len(raw) == 0 {
		return router.Switchover{}, err
	}
	s := router.Switchover{Leader: textOf(raw["leader"]), Candidate: textOf(raw["candidate"])}
	if s.Leader == "" {
		return router.Switchover{}, errors.New("it does not say who leads until then: leader is missing")
	}
	for _, name := range []string{s.Leader, s.Candidate} {
		if err := checkMember(name); name != "" && err != nil {
			return router.Switchover{}, err
		}
	}
	if text := textOf(raw["at"]); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return router.Switchover{}, fmt.Errorf("malformed time %q: it is not RFC 3339", text)
		}
		s.At = at.UTC()
	}
	return s, nil
}

// learn takes in what is there now. Of one that makes no sense, or that
// ZooKeeper refuses to show, what was known stands, and that is told once.
func (a *announcement) learn(z znode, err error, path string, cfg *Config) {
	switch {
	case err != nil:
	case !z.exists:
		*a = announcement{}
		return
	case a.exists && a.modified == z.modified && bytes.Equal(a.data, z.data) && a.told == "":
		return
	default:
		var s router.Switchover
		if s, err = parseAnnouncement(z.data); err == nil {
			*a = announcement{znode: z, value: s}
			return
		}
	}
	if a.told == err.Error() {
		return
	}
	a.told = err.Error()
	cfg.Logger.Warn("the announcement of a switchover cannot be used; what was known of it stands", slog.String("path", path), slog.Any("error", err))
	cfg.Trace.BadNode("switchover", err)
}

// standing returns what is announced while primary is as it was read last, and
// the number of the transaction that wrote it, 0 for nothing: whoever announces
// the same again, because the first time was not enough, is heard. An
// announcement is over once another primary is named, and with whatever was
// written to PATH/primary after it: one that somebody has forgotten there must
// not hold anybody back when the same server leads again.
func (a *announcement) standing(leader string, primary znode) (router.Switchover, int64) {
	if a.value.IsZero() || leader != "" && (a.value.Leader != leader || primary.modified > a.modified) {
		return router.Switchover{}, 0
	}
	return a.value, a.modified
}

// readAnnouncement brings v.announced up to date.
func (v *ownView) readAnnouncement(t *tree) (refused bool, err error) {
	path := v.path + "/switchover"
	z, err := t.get(path)
	refused = errors.Is(err, zk.ErrNoAuth)
	if err != nil && !refused {
		return false, err
	}
	v.announced.learn(z, err, path, v.cfg)
	return refused, nil
}
