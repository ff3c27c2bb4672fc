package verify_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/verify"
)

// detour tells of a cluster that goes back: x and z at version 2 are
// acknowledged (until 22); then another server leads, which has version 1 of
// both (40 to 70); and then the first again, with its own data (from 80).
type detour struct {
	story
	truth map[string][]string
}

// newDetour is the story in which the other server acknowledges version 2 of
// key, between from and until.
func newDetour(key string, from, until int) *detour {
	d := &detour{truth: map[string][]string{"x": {"x1", "x2", "x3"}, "z": {"z1", "z2"}}}
	d.do(1, 0, 1, write("x", 1, "x1"))
	d.do(5, 0, 1, write("z", 1, "z1"))
	d.do(1, 10, 11, write("x", 2, "x2"))
	d.do(2, 12, 13, read(verify.Session, "x", 2, "x2"))
	d.do(5, 20, 21, write("z", 2, "z2"))
	d.do(3, 21, 22, read(verify.Session, "z", 2, "z2"))
	d.do(7, from, until, write(key, 2, "w"))
	d.do(7, 68, 70, write("late", 1, "late"))
	d.do(1, 80, 81, write("x", 3, "x3"))
	return d
}

// toldAll ends the story: the writer of what is lost is told.
func (d *detour) toldAll(o verify.Options) *verify.Report {
	end := 90
	for _, op := range d.story {
		end = max(end, int(op.End/ms))
	}
	d.do(7, end, end+1, told(final, "PR002"))
	return verify.Judge(o, d.story, d.truth)
}

// answers are those that are right on the other server, by what they are on the
// final history.
func (d *detour) answers(at int) {
	for i, op := range []verify.Op{
		told(onPrimary(read(verify.Eventual, "x", 1, "x1")), "PR002"), // WrongLost, to process 1
		read(verify.Strong, "z", 1, "z1"),                             // StaleStrong, NotLinearizable
		read(verify.Session, "x", 1, "x1"),                            // WentBack
		scoped(read(verify.Session, "z", 1, "z1")),                    // OwnWriteMissing
		read(verify.Bounded, "z", 1, "z1"),                            // TooStale
	} {
		process := []int{1, 4, 2, 6, 8}[i]
		d.do(process, at+i, at+i+1, op)
	}
}

var mayLose = verify.Options{MayLose: true, Staleness: 5 * ms}

// What is right while the cluster is on a history that it leaves again is no
// finding, and is so without the proof that it did.
func TestDetour(t *testing.T) {
	kinds := []string{verify.WrongLost, verify.StaleStrong, verify.NotLinearizable, verify.WentBack, verify.OwnWriteMissing, verify.TooStale}
	slices.Sort(kinds)
	for _, test := range []struct {
		name        string
		opts        verify.Options
		key         string // of the second version that is lost
		from, until int
		finds       []string
	}{
		{"it went back", mayLose, "x", 40, 41, nil},
		{"nothing was made twice", mayLose, "other", 40, 41, kinds},
		{"the second may have been made first", mayLose, "x", 11, 41, kinds},
		{"nothing may be lost", verify.Options{Staleness: 5 * ms}, "x", 40, 41, slices.Sorted(slices.Values(append(slices.Clone(kinds), verify.WriteMissing, verify.LostUpdate)))},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDetour(test.key, test.from, test.until)
			d.answers(50)
			r := d.toldAll(test.opts)
			if got := slices.Sorted(maps.Keys(r.Found)); !slices.Equal(got, test.finds) {
				t.Errorf("found %q, not %q: %s", got, test.finds, text(t, r))
			}
			if test.finds != nil {
				if len(r.Detours) != 0 {
					t.Errorf("detours: %v", r.Detours)
				}
				return
			}
			want := verify.Detour{From: 21 * ms, To: 81 * ms, Twice: 1, Example: "x version 2 by x2 and by w", Unjudged: 5}
			if len(r.Detours) != 1 || r.Detours[0] != want {
				t.Errorf("detours: %+v, not %+v", r.Detours, want)
			}
			if line := "the cluster went back to a history that it had left: from 0.021s to 0.081s"; !strings.Contains(text(t, r), line) {
				t.Errorf("the report does not tell: %s", text(t, r))
			}
			if b, err := json.Marshal(r); err != nil || !strings.Contains(string(b), `"detours":[{"from":21000000,"to":81000000,"twice":1,`) {
				t.Errorf("as JSON: %v: %s", err, b)
			}
		})
	}
}

// What a detour does not explain is found.
func TestBesideDetour(t *testing.T) {
	for _, test := range []struct {
		name string
		tell func(d *detour, bad bool)
		want string
		also string
	}{
		{name: "PR002 after it", want: verify.WrongLost, tell: func(d *detour, bad bool) {
			d.do(5, pickInt(bad, 81, 80), 85, told(final, "PR002"))
		}},
		{name: "PR002 for what was written after it", want: verify.WrongLost, tell: func(d *detour, bad bool) {
			d.do(1, 80, 85, told(final, pick(bad, "PR002", "PR003")))
		}},
		{name: "PR002 before it", want: verify.WrongLost, tell: func(d *detour, bad bool) {
			d.do(5, 20, pickInt(bad, 21, 22), told(final, "PR002"))
		}},
		{name: "a stale read after it", want: verify.StaleStrong, also: verify.NotLinearizable, tell: func(d *detour, bad bool) {
			d.do(4, pickInt(bad, 81, 80), 85, read(verify.Strong, "z", 1, "z1"))
		}},
		{name: "a stale read before it", want: verify.StaleStrong, also: verify.NotLinearizable, tell: func(d *detour, bad bool) {
			d.do(4, 12, pickInt(bad, 20, 22), read(verify.Strong, "x", 1, "x1"))
		}},
		{name: "what is lost with it and not told", want: verify.WriteMissing, tell: func(d *detour, bad bool) {
			d.do(8, 42, 43, write("y", 1, "y1"))
			d.do(8, 92, 93, pick(bad, final, told(final, "PR002")))
		}},
		{name: "backwards within it", want: verify.WentBack, tell: func(d *detour, bad bool) {
			d.do(4, 50, 51, read(verify.Session, "z", 1, "z1"))
			d.do(4, 52, 53, read(verify.Session, "z", pickInt(bad, 0, 1), pick(bad, "", "z1")))
		}},
		{name: "not linearizable before it, on a key that is not in it either", want: verify.NotLinearizable, tell: func(d *detour, bad bool) {
			d.truth["q"] = []string{"q1", "q2"}
			d.do(8, 2, 18, write("q", 1, "q1"))
			d.do(9, 4, 5, read(verify.Strong, "q", 1, "q1"))
			d.do(4, pickInt(bad, 6, 4), 7, read(verify.Strong, "q", 0, ""))
			d.do(8, 18, 19, write("q", 2, "q2"))
			d.do(9, 50, 51, read(verify.Strong, "q", 1, "q1"))
		}},
		{name: "not linearizable within it, where nothing is missing", want: verify.NotLinearizable, tell: func(d *detour, bad bool) {
			d.truth["q"] = []string{"q1"}
			d.do(8, 15, 60, write("q", 1, "q1"))
			d.do(9, 42, 43, read(verify.Strong, "q", 1, "q1"))
			d.do(4, pickInt(bad, 44, 42), 45, read(verify.Strong, "q", 0, ""))
		}},
		{name: "not linearizable, by what was shown before it", tell: func(d *detour, bad bool) {
			d.truth["q"] = []string{"q1"}
			d.do(8, 15, 60, write("q", 1, "q1"))
			d.do(9, 16, 17, read(verify.Strong, "q", 1, "q1"))
			d.do(4, 44, 45, read(verify.Strong, "q", 0, ""))
		}},
		{name: "a write that failed took effect", want: verify.FailedWriteThere, tell: func(d *detour, bad bool) {
			d.truth["q"] = []string{"q1"}
			d.do(8, 50, 51, failed(write("q", 1, "q1"), pick(bad, verify.Failed, verify.Unknown)))
		}},
		{name: "writes on two servers by turns", want: verify.StaleStrong, also: verify.NotLinearizable, tell: func(d *detour, bad bool) {
			// Through b somebody writes on the one that stays, all the time.
			d.truth["q"] = []string{"q1", "q2"}
			d.do(8, 45, 46, through("b", pick(bad, write("q", 1, "q1"), failed(write("q", 1, "q1"), verify.Unknown))))
			d.do(8, 47, 48, through("b", pick(bad, write("q", 2, "q2"), failed(write("q", 2, "q2"), verify.Unknown))))
			d.do(4, 50, 51, read(verify.Strong, "z", 1, "z1"))
		}},
		{name: "a write that was answered late is not by turns", tell: func(d *detour, bad bool) {
			d.truth["q"] = []string{"q1"}
			d.do(8, 20, 46, write("q", 1, "q1"))
			d.do(4, 50, 51, read(verify.Strong, "z", 1, "z1"))
		}},
		{name: "long after the last write of it", want: verify.StaleStrong, also: verify.NotLinearizable, tell: func(d *detour, bad bool) {
			d.story = slices.DeleteFunc(d.story, func(op verify.Op) bool { return op.Value == "x3" })
			d.truth["x"] = []string{"x1", "x2"}
			d.do(4, pickInt(bad, 30_070, 30_069), 30_080, read(verify.Strong, "z", 1, "z1"))
		}},
		{name: "long before the first write of it", want: verify.StaleStrong, also: verify.NotLinearizable, tell: func(d *detour, bad bool) {
			for i := range d.story {
				if op := &d.story[i]; op.Start >= 40*ms {
					op.Start, op.End = op.Start+40_000*ms, op.End+40_000*ms
				}
			}
			d.do(4, 30, pickInt(bad, 10_041, 10_042), read(verify.Strong, "z", 1, "z1"))
		}},
		{name: "a loss long after it", want: verify.StaleStrong, also: verify.NotLinearizable, tell: func(d *detour, bad bool) {
			d.story = slices.DeleteFunc(d.story, func(op verify.Op) bool { return op.Value == "x3" })
			d.truth["x"] = []string{"x1", "x2"}
			end := pickInt(bad, 30_071, 30_070)
			d.do(8, end-1, end, write("y", 1, "y1"))
			d.do(4, end+1, end+2, read(verify.Strong, "z", 1, "z1"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, bad := range []bool{false, true} {
				if bad && test.want == "" {
					continue
				}
				d := newDetour("x", 40, 41)
				test.tell(d, bad)
				r := d.toldAll(mayLose)
				if len(r.Detours) != 1 {
					t.Errorf("bad=%v: detours: %v", bad, r.Detours)
				}
				for kind := range r.Found {
					if !bad || kind != test.want && kind != test.also {
						t.Errorf("bad=%v: %s: %s", bad, kind, text(t, r))
					}
				}
				if bad && r.Found[test.want] == 0 {
					t.Errorf("no %s: %s", test.want, text(t, r))
				}
			}
		})
	}
}

// What is in order in a detour is not counted as unjudged.
func TestDetourCountsWhatItExplains(t *testing.T) {
	d := newDetour("x", 40, 41)
	d.do(4, 50, 51, read(verify.Strong, "z", 1, "z1"))
	d.do(4, 52, 53, read(verify.Strong, "x", 2, "w"))
	d.do(4, 54, 55, read(verify.Strong, "nothing", 0, ""))
	// This key is wrong without what is read in the detour, too.
	d.truth["q"] = []string{"q1"}
	d.do(8, 2, 18, write("q", 1, "q1"))
	d.do(9, 4, 5, read(verify.Strong, "q", 1, "q1"))
	d.do(10, 6, 7, read(verify.Strong, "q", 0, ""))
	d.do(11, 50, 51, onPrimary(read(verify.Primary, "q", 0, "")))
	d.do(11, 50, 51, onPrimary(read(verify.Primary, "q", 1, "q1")))
	if r := d.toldAll(mayLose); r.Found[verify.NotLinearizable] != 1 || len(r.Findings) != 1 || len(r.Detours) != 1 || r.Detours[0].Unjudged != 2 {
		t.Errorf("%+v: %s", r.Detours, text(t, r))
	}
}
