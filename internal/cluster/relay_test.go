package cluster_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// echoServer sends back what it gets, until its peer has sent all.
func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
				_ = conn.(*net.TCPConn).CloseWrite()
			})
		}
	})
	t.Cleanup(func() { must(t, l.Close()); all.Wait() })
	return l.Addr().String()
}

func relayTo(t *testing.T, target string, delay time.Duration) (*cluster.Relay, *net.TCPConn) {
	t.Helper()
	r, err := cluster.NewRelay(target, delay)
	must(t, err)
	conn, err := net.Dial("tcp", r.Addr())
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	t.Cleanup(func() { _ = conn.Close(); must(t, r.Close()); must(t, r.Close()) })
	return r, conn.(*net.TCPConn)
}

// roundTrip sends one byte and waits for its echo.
func roundTrip(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	begin := time.Now()
	_, err := conn.Write([]byte{1})
	must(t, err)
	_, err = io.ReadFull(conn, make([]byte, 1))
	must(t, err)
	return time.Since(begin)
}

func TestRelayDelaysEachDirection(t *testing.T) {
	// So long that what a busy machine adds to a round trip is less.
	const delay = 500 * time.Millisecond
	r, conn := relayTo(t, echoServer(t), delay)
	best := time.Hour
	for range 5 {
		rtt := roundTrip(t, conn)
		if rtt < 2*delay {
			t.Fatalf("round trip of %v, shorter than the delay allows", rtt)
		}
		if best = min(best, rtt); best < 3*delay {
			break
		}
	}
	if best >= 3*delay {
		t.Errorf("the quickest round trip takes %v: the delay counts more than once in a direction", best)
	}
	r.SetDelay(0)
	t.Logf("round trip %v with the delay, %v without", best, roundTrip(t, conn))
}

// A hundred messages sent one after another arrive one after another, not a
// hundred delays apart.
func TestRelayPipelines(t *testing.T) {
	const delay, n = time.Second, 100
	_, conn := relayTo(t, echoServer(t), delay)
	begin := time.Now()
	for range n {
		_, err := conn.Write([]byte{1})
		must(t, err)
		// Each write a chunk of its own, as far as that can be had.
		must(t, conn.SetNoDelay(true))
	}
	_, err := io.ReadFull(conn, make([]byte, n))
	must(t, err)
	if took := time.Since(begin); took < 2*delay || took > n*delay/4 { // far less than one after another, on any machine
		t.Errorf("%d messages took %v with a one-way delay of %v", n, took, delay)
	}
}

// Bytes arrive whole and in order, and the end of the stream after them.
func TestRelayForwardsWholeStreams(t *testing.T) {
	_, conn := relayTo(t, echoServer(t), time.Millisecond)
	sent := make([]byte, 4<<20)
	_, _ = rand.Read(sent)
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		wrote <- errors.Join(err, conn.CloseWrite())
	}()
	got, err := io.ReadAll(conn)
	must(t, err)
	must(t, <-wrote)
	if !bytes.Equal(sent, got) {
		t.Errorf("sent %d bytes, got %d others", len(sent), len(got))
	}
}

func TestRelayCut(t *testing.T) {
	r, conn := relayTo(t, echoServer(t), 0)
	roundTrip(t, conn)
	r.Cut()
	r.Cut() // nothing more to cut
	_, err := conn.Write([]byte{7})
	must(t, err)
	must(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("something came through a cut relay: %v", err)
	}
	fresh, err := net.Dial("tcp", r.Addr())
	must(t, err)
	defer fresh.Close()
	r.Heal()
	r.Heal()
	must(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	b := make([]byte, 1)
	if _, err := io.ReadFull(conn, b); err != nil || b[0] != 7 {
		t.Errorf("after Heal: %v, %v", b, err)
	}
	roundTrip(t, fresh)
	r.Drop()
	if _, err := fresh.Read(b); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a dropped connection ends with %v, not a reset", err)
	}
}

// A client of a server that is away sees a broken connection, not a hang.
func TestRelayToNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	must(t, l.Close())
	r, err := cluster.NewRelay(addr, 0)
	must(t, err)
	defer r.Close()
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		return // the relay was quicker
	}
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read from nobody: %v", err)
	}
}
