package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/internal/cluster"
)

// A streamResult is what a large stream cost pgroute.
type streamResult struct {
	Name   string        `json:"name"`
	Bytes  int64         `json:"bytes"`
	Took   time.Duration `json:"took_ns"`
	Before int64         `json:"rss_before_bytes"`
	Peak   int64         `json:"peak_bytes"`
}

const (
	streamStall = 2 * time.Second // for which one side does nothing at first
	copyLine    = 1 << 10
	copyFrame   = 64 << 10
	rowSize     = 1 << 20
	maxError    = 64 << 10 // of an error message that is shown
)

// streamTable stalls each COPY after the server has asked for the data, so
// that the client's bytes have nowhere to go for a while.
var streamTable = []string{
	"CREATE UNLOGGED TABLE bench_copy (line text)",
	"ALTER TABLE bench_copy OWNER TO " + cluster.AppUser,
	`CREATE FUNCTION bench_stall() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM pg_sleep(` + fmt.Sprint(streamStall.Seconds()) + `); RETURN NULL; END $$`,
	"CREATE TRIGGER stall BEFORE INSERT ON bench_copy FOR EACH STATEMENT EXECUTE FUNCTION bench_stall()",
}

// measureStreams sends a large result to a slow reader, and a large COPY to a
// server that stalls.
func (l *lab) measureStreams(ctx context.Context, rep *report) (err error) {
	c, err := l.cluster(ctx, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Primary().Exec(ctx, streamTable...); err != nil {
		return err
	}
	if err := c.WaitCaughtUp(ctx); err != nil {
		return err
	}
	p, err := l.startPgroute(ctx, c, "session", "trust")
	if err != nil {
		return err
	}
	defer p.stop()
	fmt.Println("\nstreams through pgroute")
	for _, s := range []struct {
		name string
		run  func(context.Context, net.Conn) (int64, error)
	}{
		{fmt.Sprintf("a result of %d MiB, read at %d MiB/s after %v", l.opts.size, l.opts.rate, streamStall), l.readResult},
		{fmt.Sprintf("a COPY of %d MiB in, to a server that reads nothing for %v", l.opts.size, streamStall), l.copyIn},
	} {
		p.forgetPeak()
		before, err := p.memory()
		if err != nil {
			return err
		}
		r := &streamResult{Name: s.name, Before: before.now}
		began := time.Now()
		if r.Bytes, err = overSocket(ctx, p.addr, s.run); err != nil {
			return fmt.Errorf("%s: %w\n%s", s.name, err, p.tail())
		}
		r.Took = time.Since(began)
		after, err := p.memory()
		if err != nil {
			return err
		}
		r.Peak = after.peak
		fmt.Printf("  %s: %.1f s, RSS %.1f MiB before, %.1f peak\n", r.Name, r.Took.Seconds(), mib(r.Before), mib(r.Peak))
		rep.Streams = append(rep.Streams, r)
	}
	return nil
}

// overSocket logs in and gives the bare socket to do.
func overSocket(ctx context.Context, addr string, do func(context.Context, net.Conn) (int64, error)) (int64, error) {
	conn, err := pgconn.Connect(ctx, fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", cluster.AppUser, addr, cluster.AppDatabase))
	if err != nil {
		return 0, err
	}
	bare, err := conn.Hijack()
	if err != nil {
		return 0, err
	}
	defer bare.Conn.Close()
	// Ends reads and writes when ctx does.
	defer context.AfterFunc(ctx, func() { _ = bare.Conn.SetDeadline(time.Now()) })()
	return do(ctx, bare.Conn)
}

// readResult reads a large result slowly and returns how many bytes came.
func (l *lab) readResult(ctx context.Context, conn net.Conn) (int64, error) {
	rows := l.opts.size << 20 / rowSize
	if err := sendQuery(conn, fmt.Sprintf("SELECT repeat('x', %d) FROM generate_series(1, %d)", rowSize, rows)); err != nil {
		return 0, err
	}
	if err := pause(ctx, streamStall); err != nil {
		return 0, err
	}
	const ticks = 100 // in a second
	slow := &pacedReader{from: conn, perTick: l.opts.rate << 20 / ticks, tick: time.NewTicker(time.Second / ticks)}
	defer slow.tick.Stop()
	n, err := readUntil(bufio.NewReaderSize(slow, copyFrame), 'Z')
	if err == nil && n < int64(rows)*rowSize {
		err = fmt.Errorf("only %d bytes came", n)
	}
	return n, err
}

// copyIn sends a large COPY as fast as it is taken.
func (l *lab) copyIn(_ context.Context, conn net.Conn) (int64, error) {
	if err := sendQuery(conn, "COPY bench_copy FROM STDIN"); err != nil {
		return 0, err
	}
	answers := bufio.NewReader(conn)
	if _, err := readUntil(answers, 'G'); err != nil {
		return 0, err
	}
	line := append(bytes.Repeat([]byte{'x'}, copyLine-1), '\n')
	frame, err := (&pgproto3.CopyData{Data: bytes.Repeat(line, copyFrame/copyLine)}).Encode(nil)
	if err != nil {
		return 0, err
	}
	var sent int64
	for sent < int64(l.opts.size)<<20 {
		n, err := conn.Write(frame)
		sent += int64(n)
		if err != nil {
			return sent, err
		}
	}
	done, err := (&pgproto3.CopyDone{}).Encode(nil)
	if err != nil {
		return sent, err
	}
	if _, err := conn.Write(done); err != nil {
		return sent, err
	}
	_, err = readUntil(answers, 'Z')
	return sent, err
}

func sendQuery(conn net.Conn, sql string) error {
	query, err := (&pgproto3.Query{String: sql}).Encode(nil)
	if err != nil {
		return err
	}
	_, err = conn.Write(query)
	return err
}

// readUntil skips messages up to one of the type last and returns the bytes of
// all of them. An ErrorResponse is an error.
func readUntil(r *bufio.Reader, last byte) (int64, error) {
	var total int64
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return total, err
		}
		size := int64(binary.BigEndian.Uint32(head[1:])) - 4
		if size < 0 {
			return total, fmt.Errorf("a message of type %q has a length below 4", head[0])
		}
		if head[0] == 'E' {
			return total, readError(io.LimitReader(r, min(size, maxError)))
		}
		if _, err := io.CopyN(io.Discard, r, size); err != nil {
			return total, err
		}
		total += size + int64(len(head))
		if head[0] == last {
			return total, nil
		}
	}
}

func readError(body io.Reader) error {
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var e pgproto3.ErrorResponse
	if err := e.Decode(data); err != nil {
		return err
	}
	return pgconn.ErrorResponseToPgError(&e)
}

// A pacedReader lets a bounded number of bytes through in each tick.
type pacedReader struct {
	from          io.Reader
	tick          *time.Ticker
	perTick, left int
}

func (p *pacedReader) Read(b []byte) (int, error) {
	if p.left == 0 {
		<-p.tick.C
		p.left = p.perTick
	}
	n, err := p.from.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}
