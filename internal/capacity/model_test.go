package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// round are inputs that can be reckoned in the head.
var round = Inputs{
	ReadServer: 50, WriteServer: 200, SendReplica: 20, ReplayReplica: 40, ReplaySerial: 10, PositionCall: 25,
	WALPerWrite: 1000, ProxyRead: 20, ProxyWrite: 40, ServiceRead: 100, ServiceWrite: 300, BackendMemory: 5 << 20,
}

func TestAnswerIsRateTimesCost(t *testing.T) {
	a := Assumptions{Margin: 1, InstanceCores: 1, ReplicaCores: 1, LargestPrimary: 64, ReplayBusy: 0.5, PositionPace: 10,
		StatementTime: 0.002, MaxConnections: 500, Reserved: 20}
	n := Answer(round, a, Load{Requests: 10_000, ReadShare: 0.9})
	// 9,000 reads and 1,000 writes; two instances ask 20 questions at most.
	check := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s is %v, should be %v", name, got, want)
		}
	}
	check("service", n.Service, 0.9+0.3)
	check("proxy", n.Proxy, 0.18+0.04)
	check("instances", float64(n.Instances), 2)
	// A replica has 1 core less 0.04 for replay and 0.0005 for questions: 0.45
	// cores of reads fit into one.
	check("replicas", float64(n.Replicas), 1)
	check("primary", n.Primary, 0.2+0.02+0.0005)
	check("alone", n.Alone, 0.45+0.2)
	check("WAL", n.WAL, 1e6)
	check("at work on the primary", n.OnPrimary, 2)
	check("at work on a replica", n.OnReplica, 18)
	check("pool size", n.PoolSize, 231)
	if n.Wall != WallNone || n.Primaries != 1 {
		t.Errorf("wall %q, %d primaries: nothing is near its end", n.Wall, n.Primaries)
	}
}

func TestMarginAndSparesAreAdded(t *testing.T) {
	a := Default
	a.Margin, a.Spare = 1, 0
	l := Load{Requests: 50_000, ReadShare: 0.95}
	bare := Answer(round, a, l)
	a.Spare = 1
	if got := Answer(round, a, l).Replicas; got != bare.Replicas+1 {
		t.Errorf("%d replicas with a spare one, %d without", got, bare.Replicas)
	}
	a.Margin = 2
	if got := Answer(round, a, l); got.Service != 2*bare.Service || got.Alone != 2*bare.Alone {
		t.Errorf("a margin of 2 gives %v and %v, without it %v and %v", got.Service, got.Alone, bare.Service, bare.Alone)
	}
}

func TestReplayIsAWall(t *testing.T) {
	// Replay takes 10 µs, and may be busy half of the time: 50,000 writes.
	most, by := MaxWrites(round, Default, 1)
	wantCores := 64e6 / 245 / 2
	if by != WallReplay || most != 50_000 {
		t.Errorf("most writes are %v by %q, should be 50,000 by replay (cores: %v)", most, by, wantCores)
	}
	at := Answer(round, Default, Load{Requests: 50_000, ReadShare: 0})
	if at.Wall != WallNone || at.Replicas == 0 {
		t.Errorf("at the wall itself: %+v", at)
	}
	beyond := Answer(round, Default, Load{Requests: 101_000, ReadShare: 0})
	if beyond.Wall != WallReplay || beyond.Primaries != 3 || beyond.Replicas != 0 {
		t.Errorf("twice the wall and some: %+v", beyond)
	}
}

func TestProcessorsAreAWall(t *testing.T) {
	a := Default
	a.LargestPrimary = 4
	most, by := MaxWrites(round, a, 3)
	if want := 4e6 / (200 + 60 + 25) / 2; by != WallCores || math.Abs(most-want) > 1e-6 {
		t.Errorf("most writes are %v by %q, should be %v by cores", most, by, want)
	}
	n := Answer(round, a, Load{Requests: 3 * most, ReadShare: 0})
	if n.Wall != WallCores || n.Primaries < 2 {
		t.Errorf("three times the wall: %+v", n)
	}
}

func TestNothingShrinksAsLoadGrows(t *testing.T) {
	for _, share := range shares {
		var last Need
		for rate := 100.0; rate < 1e6; rate *= 1.3 {
			n := Answer(round, Default, Load{Requests: rate, ReadShare: share})
			if n.Service < last.Service || n.Proxy < last.Proxy || n.Alone < last.Alone || n.WAL < last.WAL ||
				n.Instances < last.Instances || n.PoolSize > last.PoolSize && last.PoolSize != 0 || n.Primaries < last.Primaries ||
				n.Replicas != 0 && n.Replicas < last.Replicas {
				t.Fatalf("at %v requests/s, share %v: %+v after %+v", rate, share, n, last)
			}
			last = n
		}
	}
}

func TestMeasuredInputsAreComplete(t *testing.T) {
	for _, p := range []profile{example, lean} {
		m, err := readMeasured(measuredJSON)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.inputs(p); err != nil {
			t.Errorf("%s: %v", p.title, err)
		}
		if m.Machine == "" {
			t.Error("measured.json does not say on what machine")
		}
		m.set(Measurement{Name: "position_call"})
		if _, err := m.inputs(p); err == nil {
			t.Errorf("%s: an input of 0 is accepted", p.title)
		}
		m.Inputs = slices.DeleteFunc(m.Inputs, func(one Measurement) bool { return one.Name == "position_call" })
		if _, err := m.inputs(p); err == nil {
			t.Errorf("%s: a missing input is accepted", p.title)
		}
	}
}

func TestDocumentsAreUpToDate(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "docs"), 0o700); err != nil {
		t.Fatal(err)
	}
	page := readFile(t, "../../docs/capacity.md")
	if err := os.WriteFile(filepath.Join(root, "docs", "capacity.md"), page, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := readMeasured(measuredJSON)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeDocs(root, m); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"docs/capacity.md", "docs/capacity.svg"} {
		if !bytes.Equal(readFile(t, "../../"+name), readFile(t, filepath.Join(root, name))) {
			t.Errorf("%s is not what the model says: go run ./internal/capacity", name)
		}
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPlotIsWellFormed(t *testing.T) {
	d := xml.NewDecoder(bytes.NewReader(plot(round, Default)))
	paths := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "path" {
			paths++
		}
	}
	if paths != len(curves) {
		t.Errorf("%d lines, should be %d", paths, len(curves))
	}
}

func TestReplaceGeneratedNeedsItsMarks(t *testing.T) {
	page := "a\n" + beginMark + "old\n" + endMark + "b\n"
	got, err := replaceGenerated([]byte(page), "new\n")
	if want := strings.Replace(page, "old", "new", 1); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", beginMark, endMark, endMark + beginMark} {
		if _, err := replaceGenerated([]byte(bad), "new\n"); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.1234: "0.12", 1.26: "1.3", 12.6: "13", 1234: "1,200", 123456: "120,000", 0.1: "0.1", 9.99: "10"} {
		if got := amount(x); got != want {
			t.Errorf("%v is written %s, should be %s", x, got, want)
		}
	}
	if got := thousands(1234567); got != "1,234,567" {
		t.Errorf("1234567 is written %s", got)
	}
}
