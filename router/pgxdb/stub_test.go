package pgxdb_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// What the stub is. It runs in a process of its own, so that its work is not
// counted as the client's.
const (
	stubEnv    = "PGXDB_TEST_STUB"
	stubSystem = 7
	stubStart  = 1_700_000_000_000_000
)

// stubMain serves until its standard input ends. It answers every query of
// the extended protocol with one row of one integer, at once.
func stubMain() {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(lis.Addr())
	go stubAccept(lis)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func stubAccept(lis net.Listener) {
	for {
		c, err := lis.Accept()
		if err != nil {
			return
		}
		go stubServe(c)
	}
}

// stubServe is one connection.
func stubServe(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 16<<10)
	var head [5]byte
	if _, err := io.ReadFull(in, head[:4]); err != nil {
		return
	}
	if _, err := in.Discard(int(binary.BigEndian.Uint32(head[:4])) - 4); err != nil {
		return
	}
	ready := func(b []byte) []byte { return stubMessage(b, 'Z', []byte{'I'}) }
	b := stubMessage(nil, 'R', []byte{0, 0, 0, 0})
	for _, p := range []string{"server_version\x0015.0\x00", "client_encoding\x00UTF8\x00", "standard_conforming_strings\x00on\x00",
		"default_transaction_read_only\x00on\x00"} {
		b = stubMessage(b, 'S', []byte(p))
	}
	b = ready(stubMessage(b, 'K', make([]byte, 8)))
	if _, err := c.Write(b); err != nil {
		return
	}
	column := func(oid uint32) []byte {
		d := append([]byte{0, 1}, "n\x00"...)
		d = append(d, 0, 0, 0, 0, 0, 0)
		d = binary.BigEndian.AppendUint32(d, oid)
		return append(d, 0, 4, 0xff, 0xff, 0xff, 0xff, 0, 1)
	}
	const int4 = 23
	described, row := column(int4), []byte{0, 1, 0, 0, 0, 4, 0, 0, 0, 42}
	tag := []byte("SELECT 1\x00")
	body := make([]byte, 64<<10)
	b = b[:0]
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(head[1:])) - 4
		if n < 0 || n > len(body) {
			return
		}
		if _, err := io.ReadFull(in, body[:n]); err != nil {
			return
		}
		switch head[0] {
		case 'X':
			return
		case 'Q':
			if strings.Contains(string(body[:n]), "system_identifier") {
				b = stubText(b, fmt.Sprint(stubSystem), "t", fmt.Sprint(stubStart), "0/1000000")
				b = stubMessage(b, 'C', tag)
			} else {
				b = stubMessage(b, 'I', nil)
			}
			b = ready(b)
		case 'P':
			b = stubMessage(b, '1', nil)
		case 'B':
			b = stubMessage(b, '2', nil)
		case 'C':
			b = stubMessage(b, '3', nil)
		case 'D':
			if body[0] == 'S' {
				b = stubMessage(b, 't', []byte{0, 1, 0, 0, 0, int4})
			}
			b = stubMessage(b, 'T', described)
		case 'E':
			b = stubMessage(stubMessage(b, 'D', row), 'C', tag)
		case 'S':
			b = ready(b)
		}
		if in.Buffered() == 0 {
			if _, err := c.Write(b); err != nil {
				return
			}
			b = b[:0]
		}
	}
}

func stubMessage(b []byte, typ byte, body []byte) []byte {
	b = append(b, typ)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)+4))
	return append(b, body...)
}

// stubText appends a row of texts and its description.
func stubText(b []byte, values ...string) []byte {
	d := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	r := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		d = append(d, "c\x00"...)
		d = append(d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0)
		r = binary.BigEndian.AppendUint32(r, uint32(len(v)))
		r = append(r, v...)
	}
	return stubMessage(stubMessage(b, 'T', d), 'D', r)
}

// startStub starts the stub and returns its address.
func startStub(t testing.TB) router.Addr {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), stubEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr, err := net.ResolveTCPAddr("tcp", strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return router.Addr{Name: "replica", Host: addr.IP.String(), Port: addr.Port}
}

// stubProber watches a replica, the stub, and a primary that nobody dials.
type stubProber struct{}

func (stubProber) Connect(_ context.Context, addr router.Addr) (router.Probe, error) {
	return stubProbe{primary: addr.Name == "primary"}, nil
}

type stubProbe struct{ primary bool }

func (p stubProbe) Identify(context.Context) (router.Status, error) {
	st := router.Status{SystemID: stubSystem, Timeline: 1, BeginKnown: true, Incarnation: 1, PostmasterStart: stubStart, BlockSize: 8192, At: time.Now()}
	if p.primary {
		st.Insert, st.Flush = 1<<24, 1<<24
	} else {
		st.InRecovery, st.Replay = true, 1<<24
	}
	return st, nil
}

func (stubProbe) Replay(context.Context) (router.Reading, error) {
	return router.Reading{Replay: 1 << 24, InRecovery: true}, nil
}

func (stubProbe) Insert(context.Context) (insert, flush lsn.LSN, err error) {
	return 1 << 24, 1 << 24, nil
}
func (stubProbe) Nudge(context.Context) error { return nil }
func (stubProbe) Close() error                { return nil }

// stubSource names the two.
type stubSource struct{ replica router.Addr }

func (s stubSource) Watch(ctx context.Context, publish func(router.Candidates)) error {
	publish(router.Candidates{NamesPrimary: true, Primary: "primary", Confirmed: time.Now(), Nodes: []router.Candidate{
		{Addr: router.Addr{Name: "primary", Host: "127.0.0.1", Port: 1}}, {Addr: s.replica}}})
	<-ctx.Done()
	return nil
}
