package stress_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// latencies collects durations from several goroutines.
type latencies struct {
	mu   sync.Mutex // guards the field below
	list []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, d)
}

func (l *latencies) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}

func (l *latencies) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list)
}

func (l *latencies) percentile(p int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(l.list))
	return sorted[(len(sorted)-1)*p/100]
}

// meter stands right before a server and counts the position calls that arrive
// there: pairs of FunctionCall messages.
type meter struct {
	listener net.Listener
	target   string
	messages atomic.Int64
}

func startMeter(t testing.TB, target string) *meter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{listener: l, target: target}
	var wg sync.WaitGroup
	// Ends when the listener is closed; waited for by the cleanup.
	wg.Go(func() { m.accept(&wg) })
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return m
}

func (m *meter) addr() string { return m.listener.Addr().String() }

// calls are the position calls so far. Each asks for two positions.
func (m *meter) calls() int64 { return m.messages.Load() / 2 }

func (m *meter) accept(wg *sync.WaitGroup) {
	for {
		client, err := m.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", m.target)
		if err != nil {
			client.Close()
			continue
		}
		// Both end with the connection, which the relay before us closes.
		wg.Go(func() {
			_, _ = io.Copy(client, server)
			client.Close()
		})
		wg.Go(func() {
			_ = m.count(server, client)
			server.Close()
		})
	}
}

// count forwards what a frontend sends, message by message.
func (m *meter) count(dst io.Writer, src io.Reader) error {
	startup := true
	buf := make([]byte, 0, 4096)
	for {
		header := 5
		if startup {
			header = 4 // the startup packet has no type
		}
		buf = buf[:header]
		if _, err := io.ReadFull(src, buf); err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(buf[header-4:])) + header - 4
		if size < header || size > 1<<20 {
			return errors.New("not the protocol")
		}
		if !startup && buf[0] == 'F' {
			m.messages.Add(1)
		}
		startup = false
		buf = slices.Grow(buf, size-header)[:size]
		if _, err := io.ReadFull(src, buf[header:]); err != nil {
			return err
		}
		if _, err := dst.Write(buf); err != nil {
			return err
		}
	}
}
