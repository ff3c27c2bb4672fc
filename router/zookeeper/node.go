package zookeeper

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/pgroute/pgroute/router"
)

// Node is what the znode of a server says about it.
type Node struct {
	// Host is a host name, an IP address, or the directory of a Unix socket.
	Host string `json:"host"`
	// Port is 1 to 65535.
	Port int `json:"port"`
	// Weight is the node's share of reads relative to others; 0 means 1.
	Weight int `json:"weight,omitempty"`
	// Zone is where the node is: a router of the same zone prefers it. Tags are
	// passed on as they are. One of them counts: noloadbalance keeps reads away, as
	// with Patroni.
	Zone string            `json:"zone,omitempty"`
	Tags map[string]string `json:"tags,omitempty"`
}

// parseNode reads the data of a node's znode. Unknown keys are ignored, since
// a later version may write them. A tag may also be a number or a boolean; it
// is kept as its text.
func parseNode(data []byte) (Node, error) {
	var raw struct {
		Host   string                     `json:"host"`
		Port   int                        `json:"port"`
		Weight int                        `json:"weight"`
		Zone   string                     `json:"zone"`
		Tags   map[string]json.RawMessage `json:"tags"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return Node{}, fmt.Errorf("parse node: %w", plain(err))
	}
	n := Node{Host: raw.Host, Port: raw.Port, Weight: raw.Weight, Zone: raw.Zone}
	if len(raw.Tags) > 0 {
		n.Tags = make(map[string]string, len(raw.Tags))
		for name, value := range raw.Tags {
			text, err := tagText(value)
			if err != nil {
				return Node{}, fmt.Errorf("parse node: tag %q: %w", name, err)
			}
			n.Tags[name] = text
		}
	}
	if err := n.validate(); err != nil {
		return Node{}, fmt.Errorf("parse node: %w", err)
	}
	return n, nil
}

// plain is err in the words of JSON, without those of Go's types.
func plain(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s is of the wrong JSON type, %s", cmp.Or(wrong.Field, "it"), wrong.Value)
	}
	return err
}

// tagText returns the text of a JSON scalar.
func tagText(value json.RawMessage) (string, error) {
	value = bytes.TrimSpace(value)
	if len(value) > 0 {
		switch value[0] {
		case '{', '[':
			return "", errors.New("it is neither a string nor a number nor a boolean")
		case '"':
			var s string
			err := json.Unmarshal(value, &s)
			return s, err
		case 'n':
			return "", nil // null
		}
	}
	return string(value), nil
}

func (n *Node) validate() error {
	switch {
	case n.Host == "":
		return errors.New("host is missing")
	case strings.ContainsFunc(n.Host, func(r rune) bool { return r == ',' || r <= ' ' || r == 0x7f }):
		return fmt.Errorf("malformed host %q", n.Host)
	case n.Port < 1 || n.Port > 65535:
		return fmt.Errorf("port %d is not between 1 and 65535", n.Port)
	case n.Weight < 0:
		return fmt.Errorf("weight %d is negative", n.Weight)
	}
	return nil
}

// candidate is the node as the router knows it.
func (n *Node) candidate(name string) router.Candidate {
	c := router.Candidate{
		Addr:   router.Addr{Name: name, Host: n.Host, Port: n.Port},
		Weight: n.Weight,
		Zone:   n.Zone,
		Tags:   n.Tags,
	}
	if truth(n.Tags["noloadbalance"]) {
		c.NoReads = noLoadBalance
	}
	return c
}
