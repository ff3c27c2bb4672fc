package handshake

import "strings"

// A Param is a setting of a startup packet, or one that a server reports.
type Param struct {
	Name, Value string
}

// Reserved reports whether a startup packet gives name a meaning of its own,
// so that a setting of that name would not be a setting: "-c user=postgres"
// must not become a different user (pqcomm: ProcessStartupPacket compares
// these names with their case).
func Reserved(name string) bool {
	switch name {
	case "", "user", "database", "options", "replication":
		return true
	}
	return strings.HasPrefix(name, protocolOption)
}

// protocolOption begins the names that extend the protocol.
const protocolOption = "_pq_."
