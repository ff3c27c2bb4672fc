package lsn_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/lsn"
)

// cluster is the system id of the histories here; the times stand for
// incarnations.
const (
	cluster = 7656871263498175281
	monday  = 1763337600000000
	tuesday = monday + 86400e6
	friday  = tuesday + 3*86400e6
)

func mustHistory(t testing.TB, past []lsn.Switch, timeline uint32, begin lsn.LSN, incarnation int64) lsn.History {
	t.Helper()
	h, err := lsn.NewHistory(cluster, past, timeline, begin, incarnation)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustRestart(t testing.TB, h lsn.History, incarnation int64, from lsn.LSN) lsn.History {
	t.Helper()
	h, err := h.WithRestart(lsn.Restart{Incarnation: incarnation, From: from})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The async failover that was reproduced on real servers: the old primary
// acknowledged a write at 0/5000A80, and the new one left timeline 1 before
// that, at 0/50008F0.
func TestCoversAfterAsyncFailover(t *testing.T) {
	const fork = 0x50008F0
	h := mustHistory(t, []lsn.Switch{{Timeline: 1, End: fork}}, 2, fork, tuesday)
	on1 := func(l lsn.LSN) lsn.Position {
		return lsn.Position{SystemID: cluster, Timeline: 1, LSN: l, Incarnation: monday}
	}
	for _, tc := range []struct {
		why   string
		have  lsn.LSN
		floor lsn.Position
		want  lsn.Coverage
	}{
		{"the number is reached, but the write is gone", 0x5030B70, on1(0x5000A80), lsn.CoverageLost},
		{"gone, whatever the node has", 0, on1(0x5000A80), lsn.CoverageLost},
		{"one byte beyond the switch", 0x5030B70, on1(fork + 1), lsn.CoverageLost},
		{"exactly at the switch", 0x5030B70, on1(fork), lsn.CoverageYes},
		{"at the switch, on a node that stands there", fork, on1(fork), lsn.CoverageYes},
		{"before the switch", 0x5030B70, on1(0x5000100), lsn.CoverageYes},
		{"before the switch, on a node that still replays timeline 1", 0x5000000, on1(0x5000100), lsn.CoverageNo},
		{"before the switch, nothing known of the node", 0, on1(0x5000100), lsn.CoverageNo},
		{"a write on the new timeline, reached", 0x5030B70, h.At(0x5030B70), lsn.CoverageYes},
		{"a write on the new timeline, not reached", 0x5030B70, h.At(0x5030B78), lsn.CoverageNo},
		{"a write on the new timeline below the old token", 0x5000A00, h.At(0x5000A00), lsn.CoverageYes},
	} {
		t.Run(tc.why, func(t *testing.T) {
			if got := h.Covers(tc.have, tc.floor); got != tc.want {
				t.Errorf("Covers(%s, %v) = %v, want %v", tc.have, tc.floor, got, tc.want)
			}
		})
	}
}

// The reuse that was reproduced on a real server: an asynchronous commit at
// 0/5043A78, a crash, and a restart on the same timeline at 0/50434A0; three
// writes later the position is 0/5044FC8 and the row is absent.
func TestCoversAfterCrashOnTheSameTimeline(t *testing.T) {
	const fork, token, restart, later = 0x50008F0, 0x5043A78, 0x50434A0, 0x5044FC8
	before := mustHistory(t, []lsn.Switch{{Timeline: 1, End: fork}}, 2, fork, monday)
	recorded := mustRestart(t, before, tuesday, restart)
	unseen := mustHistory(t, []lsn.Switch{{Timeline: 1, End: fork}}, 2, fork, tuesday)
	for _, tc := range []struct {
		why   string
		h     lsn.History
		have  lsn.LSN
		floor lsn.Position
		want  lsn.Coverage
	}{
		{"before the crash, reached", before, token, before.At(token), lsn.CoverageYes},
		{"before the crash, not reached", before, restart, before.At(token), lsn.CoverageNo},
		{"the number is reached, but the write is gone", recorded, later, before.At(token), lsn.CoverageLost},
		{"gone, whatever the node has", recorded, restart, before.At(token), lsn.CoverageLost},
		{"exactly where the server came back", recorded, later, before.At(restart), lsn.CoverageYes},
		{"one byte beyond", recorded, later, before.At(restart + 1), lsn.CoverageLost},
		{"what survived, on a node that lags", recorded, fork, before.At(restart), lsn.CoverageNo},
		{"the same LSN written again after the restart", recorded, later, recorded.At(token), lsn.CoverageYes},
		{"the same, not reached", recorded, restart, recorded.At(token), lsn.CoverageNo},
		{"the restart was not seen", unseen, later, before.At(token), lsn.CoverageUnknown},
		{"the restart was not seen, not even by number", unseen, restart, before.At(token), lsn.CoverageUnknown},
		{"a floor of the life to come", before, later, recorded.At(restart), lsn.CoverageUnknown},
		{"a timeline before restarts keeps its answer", recorded, later,
			lsn.Position{SystemID: cluster, Timeline: 1, LSN: fork + 1, Incarnation: 1}, lsn.CoverageLost},
	} {
		t.Run(tc.why, func(t *testing.T) {
			if got := tc.h.Covers(tc.have, tc.floor); got != tc.want {
				t.Errorf("Covers(%s, %v) = %v, want %v", tc.have, tc.floor, got, tc.want)
			}
		})
	}
}

func TestCoversAfterSeveralRestarts(t *testing.T) {
	first := mustHistory(t, nil, 1, 0, monday)
	second := mustRestart(t, first, tuesday, 0x1000)
	third := mustRestart(t, second, friday, 0x800) // the first was seen late
	for _, tc := range []struct {
		why   string
		floor lsn.Position
		want  lsn.Coverage
	}{
		{"the lowest restart counts for the first life", first.At(0x900), lsn.CoverageLost},
		{"and for the second", second.At(0x900), lsn.CoverageLost},
		{"what both restarts kept", first.At(0x800), lsn.CoverageYes},
		{"the present life", third.At(0x900), lsn.CoverageYes},
		{"a life between those that are known", lsn.Position{SystemID: cluster, Timeline: 1, LSN: 1, Incarnation: monday + 1}, lsn.CoverageUnknown},
		{"no incarnation", lsn.Position{SystemID: cluster, Timeline: 1, LSN: 1}, lsn.CoverageUnknown},
	} {
		t.Run(tc.why, func(t *testing.T) {
			if got := third.Covers(math.MaxUint64, tc.floor); got != tc.want {
				t.Errorf("Covers(%v) = %v, want %v", tc.floor, got, tc.want)
			}
		})
	}
	if got := first.Covers(0x2000, first.At(0x1800)); got != lsn.CoverageYes {
		t.Errorf("recording a restart changed the history it was added to: %v", got)
	}
}

func TestCoversUnknown(t *testing.T) {
	past := []lsn.Switch{{Timeline: 1, End: 0x100}, {Timeline: 3, Begin: 0x100, End: 0x300}}
	h := mustHistory(t, past, 4, 0x300, monday)
	tail := mustHistory(t, []lsn.Switch{{Timeline: 3, End: 0x300}}, 4, 0x300, monday)
	bare := mustHistory(t, nil, 4, 0, monday)
	at := func(timeline uint32, begin lsn.LSN) lsn.Position {
		return lsn.Position{SystemID: cluster, Timeline: timeline, Begin: begin, LSN: 0x80, Incarnation: monday}
	}
	foreign := h.At(0x80)
	foreign.SystemID++
	for _, tc := range []struct {
		why   string
		h     lsn.History
		floor lsn.Position
		want  lsn.Coverage
	}{
		{"another cluster", h, foreign, lsn.CoverageUnknown},
		{"nothing", h, lsn.Position{}, lsn.CoverageUnknown},
		{"an empty history", lsn.History{}, h.At(0x80), lsn.CoverageUnknown},
		{"an empty history and nothing", lsn.History{}, lsn.Position{}, lsn.CoverageUnknown},
		{"a timeline that this one does not descend from", h, at(2, 0x80), lsn.CoverageUnknown},
		{"a later timeline", h, at(5, 0x400), lsn.CoverageUnknown},
		{"the current number, begun elsewhere", h, at(4, 0x200), lsn.CoverageUnknown},
		{"an ancestor's number, begun elsewhere", h, at(3, 0x80), lsn.CoverageUnknown},
		{"timeline 0", h, at(0, 0), lsn.CoverageUnknown},
		{"a timeline older than what could be read", tail, at(1, 0), lsn.CoverageUnknown},
		{"an ancestor with an unknown beginning", tail, at(3, 0), lsn.CoverageUnknown},
		{"an ancestor of which only the floor knows the beginning", tail, at(3, 0x100), lsn.CoverageUnknown},
		{"an ancestor", h, at(3, 0x100), lsn.CoverageYes},
		{"the oldest ancestor", h, at(1, 0), lsn.CoverageYes},
		{"the current one", h, at(4, 0x300), lsn.CoverageYes},
		{"the same life proves the timeline even if its beginning is unknown", bare, at(4, 0), lsn.CoverageYes},
	} {
		t.Run(tc.why, func(t *testing.T) {
			if got := tc.h.Covers(0x1000, tc.floor); got != tc.want {
				t.Errorf("Covers(%v) = %v, want %v", tc.floor, got, tc.want)
			}
		})
	}
}

func TestNewHistoryRefusesContradictions(t *testing.T) {
	one := lsn.Switch{Timeline: 1, End: 0x100}
	for _, tc := range []struct {
		why         string
		systemID    uint64
		past        []lsn.Switch
		timeline    uint32
		begin       lsn.LSN
		incarnation int64
		want        string
	}{
		{"no system id", 0, nil, 1, 0, monday, "system id"},
		{"no timeline", cluster, nil, 0, 0, monday, "timeline is 0"},
		{"no incarnation", cluster, nil, 1, 0, 0, "incarnation"},
		{"negative incarnation", cluster, nil, 1, 0, -1, "incarnation"},
		{"timeline 1 with a beginning", cluster, nil, 1, 0x100, monday, "timeline 1 begins"},
		{"not past yet", cluster, []lsn.Switch{one}, 1, 0, monday, "timeline 1 comes after 1"},
		{"begins before the switch", cluster, []lsn.Switch{one}, 2, 0x80, monday, "begins at 0/80"},
		{"begins nowhere although the switch is known", cluster, []lsn.Switch{one}, 2, 0, monday, "begins at 0/0"},
		{"past timeline 0", cluster, []lsn.Switch{{End: 0x100}}, 2, 0x100, monday, "timeline 0"},
		{"an end at zero", cluster, []lsn.Switch{{Timeline: 1}}, 2, 0, monday, "left at 0/0"},
		{"past timeline 1 with a beginning", cluster, []lsn.Switch{{1, 0x80, 0x100}}, 2, 0x100, monday, "timeline 1 begins"},
		{"an end before its beginning", cluster, []lsn.Switch{{2, 0x200, 0x100}}, 3, 0x100, monday, "before"},
		{"timelines out of order", cluster, []lsn.Switch{{2, 0, 0x100}, {1, 0, 0x200}}, 3, 0x200, monday, "comes after"},
		{"a timeline twice", cluster, []lsn.Switch{one, {1, 0, 0x200}}, 3, 0x200, monday, "comes after"},
		{"a gap between two", cluster, []lsn.Switch{one, {2, 0x180, 0x200}}, 3, 0x200, monday, "was left at"},
		{"an end that goes back", cluster, []lsn.Switch{one, {2, 0, 0x80}}, 3, 0x80, monday, "was left at"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			_, err := lsn.NewHistory(tc.systemID, tc.past, tc.timeline, tc.begin, tc.incarnation)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the error is %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestNewHistoryAcceptsTimelinesWithoutWAL(t *testing.T) {
	// Two promotions with nothing written between them.
	past := []lsn.Switch{{1, 0, 0x100}, {2, 0x100, 0x100}, {5, 0x100, 0x300}}
	h := mustHistory(t, past, 7, 0x300, monday)
	if got := h.Past(); !slices.Equal(got, past) {
		t.Errorf("Past() = %v", got)
	}
}

func TestHistoryIsImmutable(t *testing.T) {
	past := []lsn.Switch{{Timeline: 1, End: 0x100}}
	h := mustHistory(t, past, 2, 0x100, monday)
	past[0].End = 0x1000
	h.Past()[0].End = 0x1000
	floor := lsn.Position{SystemID: cluster, Timeline: 1, LSN: 0x101, Incarnation: monday}
	if got := h.Covers(0x2000, floor); got != lsn.CoverageLost {
		t.Errorf("Covers = %v after a caller changed its slice", got)
	}
	// Two successors of one history share nothing, not even room to grow.
	h = mustRestart(t, mustRestart(t, h, 1, 0x1000), 2, 0x1000)
	a := mustRestart(t, h, tuesday, 0x200)
	b := mustRestart(t, h, friday, 0x300)
	if a.Incarnation() != tuesday || b.Incarnation() != friday || h.Incarnation() != 2 {
		t.Errorf("incarnations %d, %d, %d", a.Incarnation(), b.Incarnation(), h.Incarnation())
	}
	if end, _ := a.Kept(h.At(0)); end != 0x200 {
		t.Errorf("the first successor kept up to %s", end)
	}
}

func TestWithRestartRefuses(t *testing.T) {
	h := mustHistory(t, []lsn.Switch{{Timeline: 1, End: 0x100}}, 2, 0x100, monday)
	for why, tc := range map[string]struct {
		h lsn.History
		r lsn.Restart
	}{
		"an empty history":           {lsn.History{}, lsn.Restart{Incarnation: tuesday, From: 0x200}},
		"no incarnation":             {h, lsn.Restart{From: 0x200}},
		"the current incarnation":    {h, lsn.Restart{Incarnation: monday, From: 0x200}},
		"no position":                {h, lsn.Restart{Incarnation: tuesday}},
		"a place before the current": {h, lsn.Restart{Incarnation: tuesday, From: 0xFF}},
	} {
		if got, err := tc.h.WithRestart(tc.r); err == nil || got.Incarnation() != tc.h.Incarnation() {
			t.Errorf("%s: %v, %v; want an error and the old history", why, got, err)
		}
	}
}

// A server that crashes in a loop must not make us grow (I7).
func TestRestartsAreBounded(t *testing.T) {
	h := mustHistory(t, nil, 1, 0, 1)
	oldest := h.At(0x10)
	for i := range int64(1000) {
		h = mustRestart(t, h, i+2, 0x1000)
	}
	if got := h.Covers(0x2000, oldest); got != lsn.CoverageUnknown {
		t.Errorf("a forgotten incarnation is %v", got)
	}
	recent := oldest
	recent.Incarnation = 1000 - 62
	if got := h.Covers(0x2000, recent); got != lsn.CoverageYes {
		t.Errorf("the incarnation 63 restarts ago is %v", got)
	}
	if len(h.String()) > 4000 {
		t.Errorf("the description has %d bytes", len(h.String()))
	}
}

func TestHistoryString(t *testing.T) {
	if got := (lsn.History{}).String(); got != "no history" {
		t.Errorf("the zero History is %q", got)
	}
	h := mustHistory(t, []lsn.Switch{{1, 0, 0x100}, {2, 0x100, 0x300}}, 4, 0x300, monday)
	h = mustRestart(t, h, tuesday, 0x400)
	const want = "system 7656871263498175281: 1 until 0/100, 2 until 0/300, 4 since 0/300, restarted at 0/400"
	if got := h.String(); got != want {
		t.Errorf("String() = %q", got)
	}
}
