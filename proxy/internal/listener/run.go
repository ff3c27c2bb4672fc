package listener

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// The pauses between attempts to connect.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 2 * time.Second
	// idleTrip is after how long without a round trip one is made, so that a
	// dead connection is found.
	idleTrip = 5 * time.Second
)

var errEraChanged = errors.New("the primary has changed")

// Run keeps the connection until ctx is done. It may be called once.
func (h *Hub) Run(ctx context.Context) {
	pause := firstPause
	lost := false // a connection with channels was lost
	for ctx.Err() == nil {
		if !h.wants() {
			lost = false // whoever comes now has missed nothing
			h.renew()
			select {
			case <-h.wake:
			case <-ctx.Done():
			}
			continue
		}
		t := h.cfg.Router.Topology()
		if t.Primary == nil {
			wait(ctx, lastPause, t.Changed())
			continue
		}
		trips, err := h.serve(ctx, t.Primary.Addr, t.Era(), lost)
		if err == nil {
			continue // nobody wanted it any more
		}
		if trips > 0 {
			pause, lost = firstPause, true
			h.tell(ctx, &Batch{Down: true})
		}
		if ctx.Err() != nil {
			return
		}
		level := slog.LevelDebug
		if trips > 0 {
			level = slog.LevelWarn
		}
		h.cfg.Logger.Log(ctx, level, "the connection that listens for clients ended", "database", h.cfg.Database, "node", t.Primary.Name, "error", err)
		if h.cfg.Router.Topology().Era() == t.Era() {
			wait(ctx, pause, t.Changed())
			pause = min(2*pause, lastPause)
		}
	}
}

// wait waits for a time, or less if c is closed.
func wait(ctx context.Context, d time.Duration, c <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c:
	case <-ctx.Done():
	}
}

// serve listens on one connection to the primary of an era. It returns how
// many round trips were made, and why it ended; nil if nobody wants a channel
// any more.
func (h *Hub) serve(ctx context.Context, addr router.Addr, era uint64, lost bool) (trips int, err error) {
	conn, err := h.cfg.Monitor.Listen(ctx, addr, h.cfg.Database)
	if err != nil {
		return 0, err
	}
	h.renew()
	h.full.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// It ends when conn is closed, and is waited for below.
	ready, ended := make(chan struct{}, 1), make(chan error, 1)
	go h.receiveLoop(ctx, conn, ready, ended)
	running := true
	defer func() {
		cancel()
		_ = conn.Close()
		if running {
			<-ended
		}
	}()
	var done uint64
	inFlight, late, idle := false, false, time.Time{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		topology := h.cfg.Router.Topology()
		// Who wrote to the primary of a newer era has seen the newer topology
		// before asking: its round trip must not be made here.
		gen := h.sent.Load()
		due := trips == 0 || h.wanted.Load() > gen || h.dirty()
		if !inFlight && (due || !time.Now().Before(idle)) {
			gen = h.sent.Add(1)
			topology = h.cfg.Router.Topology()
			if topology.Era() != era {
				return trips, errEraChanged
			}
			if err := conn.Send(h.statements()); err != nil {
				return trips, fmt.Errorf("send: %w", err)
			}
			done, inFlight = gen, true
			timer.Reset(h.cfg.RoundTrip)
		}
		select {
		case <-ready:
			if !inFlight {
				continue
			}
			if late = !late && conn.Late(); late {
				if err := conn.Send(""); err != nil {
					return trips, fmt.Errorf("send: %w", err)
				}
				continue
			}
			inFlight = false
			trips++
			if trips == 1 && lost {
				h.reconnects.Add(1)
				h.cfg.Logger.Info("notifications arrive again", "database", h.cfg.Database, "node", addr.Name)
			}
			h.tell(ctx, &Batch{Done: done, Missed: trips == 1 && lost})
			pause := idleTrip
			if !h.wants() {
				pause = h.cfg.Linger
			}
			idle = time.Now().Add(pause)
			timer.Reset(pause)
		case err := <-ended:
			running = false
			return trips, err
		case <-timer.C:
			if inFlight && h.full.Load() {
				timer.Reset(h.cfg.RoundTrip) // the answer may have come
				continue
			}
			if inFlight {
				return trips, errors.New("the server does not answer")
			}
			if !h.wants() {
				return trips, nil
			}
		case <-h.wake:
		case <-topology.Changed():
			if h.cfg.Router.Topology().Era() != era {
				return trips, errEraChanged
			}
		case <-ctx.Done():
			return trips, ctx.Err()
		}
	}
}

// receiveLoop posts what arrives, up to an error.
func (h *Hub) receiveLoop(ctx context.Context, conn *pgprobe.Listener, ready chan<- struct{}, ended chan<- error) {
	b := new(Batch)
	for {
		n, more, err := conn.Receive()
		if n != nil {
			h.notifications.Add(1)
			frame := frame(n.PID, n.Channel, n.Payload)
			b.Notes = append(b.Notes, Note{Channel: n.Channel, Frame: frame})
			b.size += int64(len(frame) + len(n.Channel) + 64)
		}
		if len(b.Notes) > 0 && (n == nil || !more || b.size > maxPending/16) {
			h.tell(ctx, b)
			b = new(Batch)
		}
		if err != nil {
			ended <- err
			return
		}
		if n == nil {
			select {
			case ready <- struct{}{}:
			case <-ctx.Done():
				ended <- ctx.Err()
				return
			}
		}
	}
}

// frame makes a NotificationResponse.
func frame(pid uint32, channel, payload string) []byte {
	n := 4 + 4 + len(channel) + 1 + len(payload) + 1
	b := make([]byte, 0, 1+n)
	b = append(b, 'A')
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint32(b, pid)
	b = append(append(b, channel...), 0)
	return append(append(b, payload...), 0)
}

// dirty reports whether a channel has to be told to the server.
func (h *Hub) dirty() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.changed) > 0
}

// renew says that the server knows of no channel.
func (h *Hub) renew() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.changed)
	for name, c := range h.channels {
		if c.on = false; c.users > 0 {
			h.changed[name] = struct{}{}
		} else {
			delete(h.channels, name)
		}
	}
}

// statements returns what makes the server listen to what is wanted now. A
// text without statements is a round trip as well.
func (h *Hub) statements() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for name := range h.changed {
		c := h.channels[name]
		if c == nil {
			continue
		}
		if want := c.users > 0; want != c.on {
			b.WriteString(map[bool]string{true: "LISTEN ", false: "UNLISTEN "}[want])
			b.WriteString(Quote(name))
			b.WriteByte(';')
			c.on = want
		}
		if c.users == 0 {
			delete(h.channels, name)
		}
	}
	clear(h.changed)
	return b.String()
}

// Quote quotes an identifier.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
