package zookeeper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// patroniConfig is what concerns us in Patroni's dynamic configuration.
type patroniConfig struct {
	paused, failsafe, synchronous, standby bool
}

func parsePatroniConfig(data []byte) (patroniConfig, error) {
	var raw map[string]json.RawMessage
	if err := unmarshalObject(data, &raw); err != nil {
		return patroniConfig{}, err
	}
	c := patroniConfig{paused: truth(textOf(raw["pause"])), failsafe: truth(textOf(raw["failsafe_mode"]))}
	mode := textOf(raw["synchronous_mode"])
	c.synchronous = truth(mode) || strings.EqualFold(mode, "quorum")
	// Patroni takes it for one that follows another cluster if it says whence.
	var standby map[string]json.RawMessage
	if json.Unmarshal(raw["standby_cluster"], &standby) == nil {
		for _, key := range []string{"host", "port", "restore_command"} {
			c.standby = c.standby || textOf(standby[key]) != ""
		}
	}
	return c, nil
}

// patroniSync is the key sync.
type patroniSync struct {
	leader   string
	standbys []string
	quorum   int
}

func parsePatroniSync(data []byte) (patroniSync, error) {
	var raw map[string]json.RawMessage
	if err := unmarshalObject(data, &raw); err != nil {
		return patroniSync{}, err
	}
	s := patroniSync{leader: textOf(raw["leader"])}
	if s.leader == "" {
		return patroniSync{}, nil
	}
	for name := range strings.SplitSeq(textOf(raw["sync_standby"]), ",") {
		if name = strings.TrimSpace(name); name != "" {
			s.standbys = append(s.standbys, name)
		}
	}
	if text := textOf(raw["quorum"]); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return patroniSync{}, fmt.Errorf("malformed quorum %q", text)
		}
		s.quorum = n
	}
	return s, nil
}

// parsePatroniFailover reads the key failover: JSON, or in old versions
// LEADER:CANDIDATE. Without a switchover Patroni leaves {} behind.
func parsePatroniFailover(data []byte) (router.Switchover, error) {
	text := strings.TrimSpace(string(data))
	if text != "" && text[0] != '{' && text != "null" {
		leader, candidate, _ := strings.Cut(text, ":")
		s := router.Switchover{Leader: strings.TrimSpace(leader), Candidate: strings.TrimSpace(candidate)}
		if checkMember(s.Leader) != nil && s.Leader != "" || checkMember(s.Candidate) != nil && s.Candidate != "" {
			return router.Switchover{}, errors.New("it is neither an object nor LEADER:CANDIDATE")
		}
		return s, nil
	}
	var raw map[string]json.RawMessage
	if err := unmarshalObject(data, &raw); err != nil {
		return router.Switchover{}, err
	}
	s := router.Switchover{Leader: textOf(raw["leader"]), Candidate: textOf(raw["member"])}
	if s.Candidate == "" {
		s.Candidate = textOf(raw["candidate"])
	}
	if at := textOf(raw["scheduled_at"]); at != "" && !s.IsZero() {
		var err error
		if s.At, err = parseTime(at); err != nil {
			return router.Switchover{}, err
		}
	}
	return s, nil
}

// parseTime reads a time as Python writes it. Patroni insists on a time zone.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("malformed time %q", text)
}

// parsePatroniHistory reads the key history: lines of timeline, LSN, reason
// and more, as in PostgreSQL's timeline history files.
func parsePatroniHistory(data []byte) ([]lsn.Switch, error) {
	var lines [][]json.RawMessage
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(data, &lines); err != nil {
		return nil, plain(err)
	}
	var file strings.Builder
	for i, line := range lines {
		if len(line) < 2 {
			return nil, fmt.Errorf("line %d has no timeline and LSN", i+1)
		}
		tli, err := strconv.ParseUint(textOf(line[0]), 10, 32)
		if err != nil || tli == 0 {
			return nil, fmt.Errorf("line %d has no timeline", i+1)
		}
		end, err := strconv.ParseUint(textOf(line[1]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d has no LSN", i+1)
		}
		fmt.Fprintf(&file, "%d\t%s\n", tli, lsn.LSN(end))
	}
	return lsn.ParseHistoryFile(file.String())
}

// parseSystemID reads the key initialize, which is empty while a cluster is
// being made.
func parseSystemID(data []byte) (uint64, error) {
	text := strings.TrimSpace(string(data))
	if text == "" {
		return 0, nil
	}
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, errors.New("it is not a system identifier")
	}
	return id, nil
}

// parseLeader reads the key leader: a member's name.
func parseLeader(data []byte) (string, error) {
	name := strings.TrimSpace(string(data))
	return name, checkMember(name)
}

// checkMember says whether name may name a member.
func checkMember(name string) error {
	if len(name) > 1<<10 || !utf8.ValidString(name) {
		return errors.New("it is not the name of a member")
	}
	return checkName(name)
}

// unmarshalObject reads a JSON object; nothing and null are an empty one.
func unmarshalObject(data []byte, raw *map[string]json.RawMessage) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	return plain(json.Unmarshal(data, raw))
}

// without returns list without name.
func without(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == name })
}
