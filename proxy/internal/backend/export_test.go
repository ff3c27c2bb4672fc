package backend

import "net"

// LogIn runs a login on a connection that exists already.
func LogIn(conn net.Conn, cred Credentials, database string) (*Hello, error) {
	packet, err := startupPacket(cred, database, nil)
	if err != nil {
		return nil, err
	}
	l := login{conn: conn, cred: cred, hello: &Hello{Conn: conn}}
	return l.hello, l.run(packet)
}

// IdentifySQL is the query of Identify.
const IdentifySQL = identifySQL
