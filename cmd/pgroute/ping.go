package main

import (
	"bytes"
	"context"
	bytesof "encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// maxRefusal bounds the ErrorResponse that is believed (I8).
const maxRefusal = 64 << 10

// ping reports whether a server takes connections, as pg_isready does: it
// begins to log in, and whatever the server answers is a sign of life, but for
// the one error by which PostgreSQL says that it is starting or stopping.
func ping(ctx context.Context, host string, port int) error {
	network, addr := "tcp", net.JoinHostPort(host, strconv.Itoa(port))
	if strings.HasPrefix(host, "/") {
		network, addr = "unix", filepath.Join(host, ".s.PGSQL."+strconv.Itoa(port))
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	// StartupMessage of protocol 3.0 (protocol-message-formats).
	packet := []byte("\x00\x00\x00\x00\x00\x03\x00\x00user\x00pgroute\x00database\x00postgres\x00application_name\x00pgroute register\x00\x00")
	bytesof.BigEndian.PutUint32(packet, uint32(len(packet)))
	if _, err := conn.Write(packet); err != nil {
		return fmt.Errorf("ask %s: %w", addr, err)
	}
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return fmt.Errorf("ask %s: %w", addr, err)
	}
	size := bytesof.BigEndian.Uint32(head[1:])
	switch {
	case head[0] == 'R' && size >= 8 && size <= maxRefusal:
		return nil
	case head[0] != 'E' || size < 5 || size > maxRefusal:
		return fmt.Errorf("ask %s: what answers there is not PostgreSQL", addr)
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		return fmt.Errorf("ask %s: %w", addr, err)
	}
	for field := range bytes.SplitSeq(body, []byte{0}) {
		if string(field) == "C"+sqlstate.CannotConnectNow {
			return errors.New("it takes no connections now")
		}
	}
	return nil
}
