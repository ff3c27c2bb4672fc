package zookeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/pgroute/pgroute/router"
)

// defaultPostgresPort is what a conn_url without a port means (libpq).
const defaultPostgresPort = 5432

// member is what the znode of one of Patroni's members says about it. All of
// it is hearsay: Patroni writes it once in each loop, seconds apart.
type member struct {
	// Host and Port are where its PostgreSQL is.
	Host string
	Port int
	// API is the base of its REST API, such as http://10.0.0.11:8008, or "".
	API string
	// Role is primary, replica, standby_leader, promoted, demoted and so on.
	// What older versions call master is primary here.
	Role string
	// State is running, starting, stopping, stopped, crashed and so on.
	State string
	// Timeline is the one that its server is on, 0 if that is not said.
	Timeline uint32
	// Version is Patroni's.
	Version string
	// Tags are as they are configured, a number or a Boolean as its text.
	// Those with a nested value are left out.
	Tags map[string]string
}

// parseMember reads the data of a member's znode, of every version of Patroni
// and of Governor before it. Unknown keys are ignored, and so is whatever is
// of an unexpected type and no matter of where the server is.
func parseMember(data []byte) (member, error) {
	text := strings.TrimSpace(string(data))
	if strings.HasPrefix(text, "postgres") {
		return parseGovernor(text)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return member{}, fmt.Errorf("parse member: %w", plain(err))
	}
	m := member{Role: textOf(raw["role"]), State: textOf(raw["state"]), Version: textOf(raw["version"])}
	if m.Role == "master" {
		m.Role = "primary"
	}
	if n, err := strconv.ParseUint(textOf(raw["timeline"]), 10, 32); err == nil {
		m.Timeline = uint32(n)
	}
	if api, err := url.Parse(textOf(raw["api_url"])); err == nil && api.Host != "" {
		m.API = api.Scheme + "://" + api.Host
	}
	var tags map[string]json.RawMessage
	if json.Unmarshal(raw["tags"], &tags) == nil && len(tags) > 0 {
		m.Tags = make(map[string]string, len(tags))
		for name, value := range tags {
			if text, err := tagText(value); err == nil {
				m.Tags[name] = text
			}
		}
	}
	var err error
	if m.Host, m.Port, err = memberAddr(raw); err != nil {
		return member{}, fmt.Errorf("parse member: %w", err)
	}
	return m, nil
}

// parseGovernor reads the form of Patroni's forerunner: a connection string
// whose application_name is the REST API's address.
func parseGovernor(text string) (member, error) {
	var m member
	var err error
	if m.Host, m.Port, err = parseConnURL(text); err != nil {
		return member{}, fmt.Errorf("parse member: %w", err)
	}
	if _, query, ok := strings.Cut(text, "?"); ok {
		if values, err := url.ParseQuery(query); err == nil {
			if api, err := url.Parse(values.Get("application_name")); err == nil && api.Host != "" {
				m.API = api.Scheme + "://" + api.Host
			}
		}
	}
	return m, nil
}

// textOf returns the text of a JSON scalar, "" for everything else.
func textOf(value json.RawMessage) string {
	text, err := tagText(value)
	if err != nil {
		return ""
	}
	return text
}

// memberAddr finds out where a member's server is.
func memberAddr(raw map[string]json.RawMessage) (host string, port int, err error) {
	if text := textOf(raw["conn_url"]); text != "" {
		return parseConnURL(text)
	}
	var kwargs map[string]json.RawMessage
	if json.Unmarshal(raw["conn_kwargs"], &kwargs) != nil || textOf(kwargs["host"]) == "" {
		return "", 0, errors.New("it has no conn_url")
	}
	port = defaultPostgresPort
	if text := textOf(kwargs["port"]); text != "" {
		if port, err = strconv.Atoi(text); err != nil {
			return "", 0, fmt.Errorf("malformed port %q", text)
		}
	}
	return checkAddr(textOf(kwargs["host"]), port)
}

// parseConnURL takes the host and the port from a connection string. Of
// several hosts it takes the first: a member is one server. How to log in and
// whether to speak TLS is not the tree's to say, so the rest is not looked at,
// nor ever part of an error: it may hold a password.
func parseConnURL(text string) (host string, port int, err error) {
	_, rest, ok := strings.Cut(text, "://")
	if !ok {
		return "", 0, errors.New("conn_url is not a connection string")
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	rest, _, _ = strings.Cut(rest, ",")
	port = defaultPostgresPort
	switch i := strings.LastIndexByte(rest, ':'); {
	case strings.HasPrefix(rest, "["):
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			return "", 0, errors.New("conn_url has an IPv6 address without its bracket")
		}
		host, rest = rest[1:end], rest[end+1:]
		if rest != "" && rest[0] != ':' {
			return "", 0, errors.New("conn_url has something behind its IPv6 address")
		}
		rest = strings.TrimPrefix(rest, ":")
	case i >= 0 && strings.IndexByte(rest, ':') == i:
		host, rest = rest[:i], rest[i+1:]
	default:
		host, rest = rest, "" // no port, or an IPv6 address without brackets
	}
	if rest != "" {
		n, err := strconv.ParseUint(rest, 10, 16)
		if err != nil {
			return "", 0, errors.New("conn_url has a malformed port")
		}
		port = int(n)
	}
	if host, err = url.PathUnescape(host); err != nil {
		return "", 0, errors.New("conn_url has a malformed host")
	}
	return checkAddr(host, port)
}

// checkAddr refuses what cannot be dialled.
func checkAddr(host string, port int) (string, int, error) {
	n := Node{Host: host, Port: port}
	if err := n.validate(); err != nil {
		return "", 0, err
	}
	return host, port, nil
}

// candidate is the member as the router knows it. What changes from one loop of
// Patroni to the next is not in it, but for NoReads. Another address makes it
// another server for the router; the rest may change while it is used.
func (m *member) candidate(name string) router.Candidate {
	c := router.Candidate{
		Addr:    router.Addr{Name: name, Host: m.Host, Port: m.Port},
		Zone:    m.Tags["zone"],
		NoReads: m.noReads(),
	}
	if n, err := strconv.Atoi(m.Tags["weight"]); err == nil && n > 0 && n <= maxWeight {
		c.Weight = n
	}
	for tag, value := range m.Tags {
		if tag == "noloadbalance" || tag == "zone" || tag == "weight" {
			continue
		}
		if c.Tags == nil {
			c.Tags = make(map[string]string, len(m.Tags))
		}
		c.Tags[tag] = value
	}
	return c
}

// maxWeight bounds a weight that somebody has written into a tag.
const maxWeight = 1 << 16

const noLoadBalance = "tag noloadbalance"

// noReads says why a member shall serve no reads, "" if it may.
func (m *member) noReads() string {
	switch {
	case truth(m.Tags["noloadbalance"]):
		return noLoadBalance
	case truth(m.Tags["nostream"]):
		// It restores WAL from the archive, and nobody can see whom it follows.
		return "tag nostream: it has no WAL receiver"
	}
	switch m.State {
	case "", "running", "streaming", "in archive recovery":
		return ""
	}
	return "state " + m.State
}

// truth reads a Boolean as Patroni does.
func truth(text string) bool {
	switch strings.ToLower(text) {
	case "true", "on", "yes", "1":
		return true
	}
	return false
}
