package zookeeper

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-zookeeper/zk"
)

// Layout is what is in ZooKeeper about the servers of a cluster in our own
// layout, as it was read once.
type Layout struct {
	// Primary is PATH/primary, "" if it names nobody.
	Primary string `json:"primary"`
	// Claim is the last claim that was granted, zero if none was.
	Claim Claim `json:"claim,omitzero"`
	// Configured is true if there is a PATH/config.
	Configured bool `json:"configured"`
	// Nodes are those of PATH/nodes, by name.
	Nodes map[string]Registered `json:"nodes"`
}

// Registered is one node of a Layout.
type Registered struct {
	Node
	// Ephemeral is true for a node that an agent keeps, false for one that
	// somebody has written.
	Ephemeral bool `json:"ephemeral"`
	// Problem says why proxies cannot read it, "" if they can.
	Problem string `json:"problem,omitempty"`
}

// Layout reads what is there. A node that makes no sense is part of it.
func (r *Registry) Layout(ctx context.Context) (Layout, error) {
	var out Layout
	err := r.do(ctx, "read the layout", func() (err error) {
		out, err = r.layout()
		return err
	})
	if err != nil {
		return Layout{}, err // out may still be written to
	}
	return out, nil
}

func (r *Registry) layout() (Layout, error) {
	l := Layout{Nodes: make(map[string]Registered)}
	named, _, err := r.versioned(r.path + "/primary")
	if err != nil {
		return l, err
	}
	l.Primary = strings.TrimSpace(string(named))
	claim, _, err := r.versioned(r.path + "/claim")
	if err != nil {
		return l, err
	}
	var last lastClaim
	if len(claim) > 0 && json.Unmarshal(claim, &last) == nil {
		l.Claim = Claim{Name: last.Primary, SystemID: last.SystemID, Timeline: last.Timeline}
	}
	if l.Configured, _, err = r.client.Exists(r.path + "/config"); err != nil {
		return l, err
	}
	names, _, err := r.client.Children(r.path + "/nodes")
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return l, err
	}
	for _, name := range names {
		var n Registered
		data, stat, err := r.client.Get(r.path + "/nodes/" + name)
		switch {
		case errors.Is(err, zk.ErrNoNode):
			continue // It went while we read.
		case errors.Is(err, zk.ErrNoAuth):
			n.Problem = "ZooKeeper refuses to show it"
		case err != nil:
			return l, err
		default:
			n.Ephemeral = stat.EphemeralOwner != 0
			if n.Node, err = parseNode(data); err != nil {
				n.Problem = err.Error()
			}
		}
		l.Nodes[name] = n
	}
	return l, nil
}
