package reactor_test

import (
	"net"
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/reactor"
)

// above is what TLS is: a connection that is no socket itself.
type above struct{ net.Conn }

func (a above) Below() net.Conn { return a.Conn }

// TestLeft: a client that hangs up is noticed without taking anything from its
// connection; one that has sent something already is still there.
func TestLeft(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if reactor.Left(conn) || reactor.Left(above{conn}) {
		t.Error("a client that is there has left")
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if reactor.Left(conn) || reactor.Left(above{conn}) {
		t.Error("a client that sends has left")
	}
	client.Close()
	for end := time.Now().Add(time.Minute); !reactor.Left(above{conn}); {
		if time.Now().After(end) {
			t.Fatal("a client that has hung up is still there")
		}
	}
	b := make([]byte, 2)
	if n, err := conn.Read(b); n != 1 || b[0] != 'y' {
		t.Errorf("then %q is read, %v", b[:n], err)
	}
}
