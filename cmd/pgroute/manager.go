package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgroute/pgroute/router"
)

// describeManager says for people what the cluster's manager says, "" if there
// is none and nothing is announced.
func describeManager(t *router.Topology) string {
	m := t.Management
	var words []string
	if m.Manager != "" {
		words = append(words, "managed by "+m.Manager)
	}
	if m.Paused {
		words = append(words, "paused: nobody takes over when the primary fails")
	}
	if m.Standby {
		words = append(words, "a standby cluster: it takes no writes")
	}
	if m.Failsafe {
		words = append(words, "failsafe mode")
	}
	if s := &m.Synchronous; len(s.Standbys) > 0 {
		text := "synchronous: " + strings.Join(s.Standbys, ", ")
		if s.Quorum > 0 {
			text += fmt.Sprintf(" (quorum %d)", s.Quorum)
		}
		words = append(words, text)
	}
	if s := t.Switchover; !s.IsZero() {
		text := "switchover of " + s.Leader
		if s.Candidate != "" {
			text += " to " + s.Candidate
		}
		if s.At.IsZero() {
			text += " now"
		} else {
			text += " at " + s.At.Format(time.RFC3339)
		}
		words = append(words, text)
	}
	return strings.Join(words, "; ")
}
