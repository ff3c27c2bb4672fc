package tlsconn_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/tlsconn"
)

var errAgain = errors.New("again")

// certificate returns a certificate that nobody has signed.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A pipe is a connection whose bytes lie in memory once the login is over, so
// that a test says when which of them arrive.
type pipe struct {
	net.Conn        // during the login
	in, out  []byte // afterwards
	loose    bool   // after the login
}

func (p *pipe) Read(b []byte) (int, error) {
	if !p.loose {
		return p.Conn.Read(b)
	}
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.in)
	p.in = p.in[n:]
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) {
	if !p.loose {
		return p.Conn.Write(b)
	}
	p.out = append(p.out, b...)
	return len(b), nil
}

// A lab is a client of crypto/tls and a Conn in a loop.
type lab struct {
	pipe   *pipe
	client *tls.Conn
	server *tlsconn.Conn
	ended  bool
	reads  int // of the loop's socket
	// most is how much one read of the loop's socket brings at most, 0 for
	// all that there is.
	most func() int
}

// login connects both; the client says hello in the same record as its last
// words of the login.
func login(t testing.TB, version uint16, hello string) *lab {
	t.Helper()
	a, b := net.Pipe()
	x := &lab{pipe: &pipe{Conn: a}, most: func() int { return 1 << 30 }}
	x.client = tls.Client(x.pipe, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	x.server = tlsconn.Server(b, nil, &tls.Config{
		Certificates: []tls.Certificate{certificate(t)}, SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
	})
	done := make(chan error, 1)
	go func() { // ends with the login
		_, err := x.client.Write([]byte("login" + hello))
		done <- err
	}()
	if _, err := io.ReadFull(x.server, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	x.pipe.loose = true
	x.server.Take(7, x.read, errAgain)
	return x
}

func (x *lab) read(fd int, b []byte) (int, error) {
	x.reads++
	switch {
	case fd != 7:
		return 0, errors.New("another socket")
	case len(x.pipe.out) == 0 && x.ended:
		return 0, nil
	case len(x.pipe.out) == 0:
		return 0, errAgain
	}
	n := copy(b[:min(len(b), x.most())], x.pipe.out)
	x.pipe.out = x.pipe.out[n:]
	return n, nil
}

func (x *lab) write(t testing.TB, b []byte) {
	t.Helper()
	if _, err := x.client.Write(b); err != nil {
		t.Fatal(err)
	}
}

// Whatever pieces the bytes come in, and however little room there is, what is
// opened is what was sent; when the socket is empty nothing is left inside.
func TestOpenWhateverThePieces(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(version)))
			x := login(t, version, "hello")
			x.most = func() int { return 1 + rnd.IntN(1+rnd.IntN(1<<15)) }
			want, got := []byte("hello"), []byte(nil)
			dst := make([]byte, tlsconn.Slack+1+rnd.IntN(1<<16))
			for round := range 300 {
				b := make([]byte, rnd.IntN(1+rnd.IntN(100_000)))
				for i := range b {
					b[i] = byte(round + i)
				}
				x.write(t, b)
				want = append(want, b...)
				for again := false; !again; {
					before := len(x.pipe.out)
					n, err := x.server.Open(dst)
					got = append(got, dst[:n]...)
					if err != nil && err != errAgain {
						t.Fatal(err)
					}
					again = len(x.pipe.out) == 0
					if len(x.pipe.out) == before && !again {
						t.Fatalf("it reads nothing, with %d bytes there", before)
					}
				}
				if len(got) != len(want) {
					t.Fatalf("%d of %d bytes once the socket is empty", len(got), len(want))
				}
			}
			if !bytes.Equal(got, want) {
				t.Error("the bytes are others")
			}
			if n, err := x.server.Open(dst); n != 0 || err != errAgain {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
}

// One small message costs one read of the socket.
func TestOneReadForASmallMessage(t *testing.T) {
	x := login(t, tls.VersionTLS13, "")
	dst := make([]byte, 1<<16)
	x.write(t, []byte("select 1"))
	if n, err := x.server.Open(dst); string(dst[:n]) != "select 1" || err != nil || x.reads != 1 {
		t.Errorf("%q, %v after %d reads", dst[:n], err, x.reads)
	}
}

func TestSeal(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		x := login(t, version, "")
		var want, records []byte
		var err error
		for i := range 50 {
			b := bytes.Repeat([]byte{byte(i)}, i*i*40)
			want = append(want, b...)
			if records, err = x.server.Seal(records, b); err != nil {
				t.Fatal(err)
			}
		}
		x.pipe.in = x.server.Finish(records)
		got, err := io.ReadAll(x.client) // to the close_notify
		if err != nil || !bytes.Equal(got, want) || len(x.pipe.in) > 0 {
			t.Errorf("%d bytes of %d, %v, %d are left", len(got), len(want), err, len(x.pipe.in))
		}
		if more, err := x.server.Seal(nil, []byte("x")); err == nil || len(more) > 0 {
			t.Errorf("after the end: %q, %v", more, err)
		}
	}
}

// The end of the stream is told apart from its interruption, comes after the
// last bytes, and stays.
func TestEnd(t *testing.T) {
	dst := make([]byte, 1<<16)
	for name, x := range map[string]struct {
		end  func(*lab)
		want error
	}{
		"close_notify":    {func(x *lab) { x.client.CloseWrite() }, io.EOF},
		"the socket":      {func(x *lab) { x.ended = true }, io.EOF},
		"inside":          {func(x *lab) { x.pipe.out, x.ended = x.pipe.out[:len(x.pipe.out)-3], true }, io.ErrUnexpectedEOF},
		"garbage":         {func(x *lab) { x.pipe.out = append(x.pipe.out, "Q\x00\x00\x00\x0dselect 1\x00"...) }, nil},
		"a broken record": {func(x *lab) { x.pipe.out[len(x.pipe.out)-1] ^= 1 }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := login(t, tls.VersionTLS13, "")
			l.write(t, []byte("last"))
			if name == "inside" || name == "a broken record" {
				l.write(t, []byte("more"))
			}
			x.end(l)
			n, err := l.server.Open(dst)
			if string(dst[:n]) != "last" {
				t.Errorf("%q, %v", dst[:n], err)
			}
			for range 2 {
				n, err = l.server.Open(dst)
				if n != 0 || err == nil || err == errAgain || x.want != nil && !errors.Is(err, x.want) {
					t.Errorf("%d, %v", n, err)
				}
			}
			if told := l.server.Pending(); (x.want == nil) != (len(told) > 0) {
				t.Errorf("the peer is told %q", told)
			}
		})
	}
}

// What allocates is crypto/tls, and little.
func TestAllocations(t *testing.T) {
	x := login(t, tls.VersionTLS13, "")
	dst, message := make([]byte, 1<<16), bytes.Repeat([]byte("x"), 200)
	var records []byte
	turn := func() {
		x.write(t, message)
		if n, err := x.server.Open(dst); n != len(message) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		records, _ = x.server.Seal(records[:0], message)
	}
	turn()
	if n := testing.AllocsPerRun(1000, turn); n > 8 {
		t.Errorf("%v allocations for a message each way", n)
	} else {
		t.Logf("%v allocations for a message each way, the client's included", n)
	}
}

func BenchmarkOpenSeal(b *testing.B) {
	x := login(b, tls.VersionTLS13, "")
	dst, message := make([]byte, 1<<16), bytes.Repeat([]byte("x"), 200)
	var records []byte
	var sent [][]byte
	for range 1000 {
		x.write(b, message)
		sent = append(sent, bytes.Clone(x.pipe.out))
		x.pipe.out = x.pipe.out[:0]
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(sent) == 0 && i > 0 {
			b.StopTimer()
			for k := range sent {
				x.pipe.out = nil
				x.write(b, message)
				sent[k] = x.pipe.out
			}
			b.StartTimer()
		}
		x.pipe.out = sent[i%len(sent)]
		if n, err := x.server.Open(dst); n != len(message) || err != nil {
			b.Fatalf("%d, %v", n, err)
		}
		records, _ = x.server.Seal(records[:0], message)
	}
}
