package zookeeper

import (
	"fmt"
	"net"
	"strings"
	"time"
)

// NewGuardedConn is newGuardedConn, which only a hostile server would reach.
func NewGuardedConn(conn net.Conn) net.Conn { return newGuardedConn(conn, time.Second) }

// Member is a member.
type Member = member

// ParseMember is parseMember.
func ParseMember(data []byte) (Member, error) { return parseMember(data) }

// ParseNode is parseNode.
func ParseNode(data []byte) (Node, error) { return parseNode(data) }

// PatroniKeys are the keys of Patroni that are read, beside members.
var PatroniKeys = []string{"initialize", "leader", "config", "sync", "failover", "history"}

// ParsePatroniKey reads one of PatroniKeys and describes what was understood.
func ParsePatroniKey(key string, data []byte) (string, error) {
	switch key {
	case "initialize":
		id, err := parseSystemID(data)
		return fmt.Sprint(id), err
	case "leader":
		return parseLeader(data)
	case "config":
		c, err := parsePatroniConfig(data)
		var words []string
		for _, w := range []struct {
			word string
			on   bool
		}{{"paused", c.paused}, {"failsafe", c.failsafe}, {"synchronous", c.synchronous}, {"standby", c.standby}} {
			if w.on {
				words = append(words, w.word)
			}
		}
		return strings.Join(words, " "), err
	case "sync":
		s, err := parsePatroniSync(data)
		return fmt.Sprintf("%s %v %d", s.leader, s.standbys, s.quorum), err
	case "failover":
		s, err := parsePatroniFailover(data)
		at := "-"
		if !s.At.IsZero() {
			at = s.At.Format(time.RFC3339Nano)
		}
		return fmt.Sprintf("%s %s %s", s.Leader, s.Candidate, at), err
	case "history":
		list, err := parsePatroniHistory(data)
		return fmt.Sprint(list), err
	}
	return "", fmt.Errorf("no key %q", key)
}
