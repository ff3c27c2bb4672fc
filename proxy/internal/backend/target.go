package backend

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// A Target is where a server listens.
type Target struct {
	// Host is a name, an IP address, or, if it begins with a slash or an @,
	// the directory (or abstract prefix) of a Unix socket.
	Host string
	Port int
	// Security is how the server is spoken to. nil is in the clear.
	Security *Security
}

// String returns HOST:PORT or the path of the socket.
func (t Target) String() string {
	_, address := t.address()
	return address
}

// address returns what net.Dial needs.
func (t Target) address() (network, address string) {
	if strings.HasPrefix(t.Host, "/") || strings.HasPrefix(t.Host, "@") {
		return "unix", filepath.Join(t.Host, ".s.PGSQL."+strconv.Itoa(t.Port))
	}
	return "tcp", net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
}
