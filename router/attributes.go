package router

import "maps"

// attributes are what the source says of a node and may change while the node
// lives. They are immutable and replaced whole.
type attributes struct {
	zone   string
	weight int
	tags   map[string]string
	// noReads says why the source wants no reads here, "" if it does not mind.
	noReads string
}

func attributesOf(c *Candidate) *attributes {
	return &attributes{zone: c.Zone, weight: max(c.Weight, 1), tags: c.Tags, noReads: c.NoReads}
}

func (a *attributes) equal(b *attributes) bool {
	return a.zone == b.zone && a.weight == b.weight && a.noReads == b.noReads && maps.Equal(a.tags, b.tags)
}

// setAttributesLocked takes in what the source says of n. Connections do not
// care: they lead to the same server.
func (n *Node) setAttributesLocked(fx *effects, a *attributes) {
	if a.equal(n.attrs.Load()) {
		return
	}
	n.attrs.Store(a)
	n.weight.Store(int64(a.weight))
	fx.info("the source has changed what it says of a node", "node", n.Name, "weight", a.weight, "zone", a.zone,
		"no_reads", a.noReads, "tags", a.tags)
}

// Zone returns where the source says that the node is, "" if it does not.
func (n *Node) Zone() string { return n.attrs.Load().zone }

// Weight returns the node's share of reads relative to others, at least 1.
func (n *Node) Weight() int { return n.attrs.Load().weight }

// Tags returns what else the source says of the node. The map must not be
// changed.
func (n *Node) Tags() map[string]string { return n.attrs.Load().tags }

// NoReads returns why the source wants the node to serve no reads as a
// replica, "" if it may.
func (n *Node) NoReads() string { return n.attrs.Load().noReads }
