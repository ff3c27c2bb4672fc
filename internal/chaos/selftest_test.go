package chaos_test

import (
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/verify"
)

// The picture is well-formed and shows what happened, a finding too.
func TestPictureShowsTheRun(t *testing.T) {
	j := newJournal(time.Second)
	e := j.open("cut", "pg1 – <zk>")
	j.close(e, errors.New("a & b"))
	j.sampled(sample{At: time.Millisecond, Node: "pg1", Role: "primary", Timeline: 7})
	j.sampled(sample{At: time.Millisecond, Node: "pg2", Role: "replica", Timeline: 7, Lag: 5 << 20})
	j.observe(verify.Op{Kind: verify.KindRead, Node: "pg2", Role: "replica", Outcome: verify.OK, End: time.Millisecond})
	j.observe(verify.Op{Client: 1, Kind: verify.KindWrite, Target: "px1", Outcome: verify.OK, End: time.Millisecond})
	j.observe(verify.Op{Kind: verify.KindWrite, Outcome: verify.Unknown, SQLState: "08007", End: time.Millisecond})
	j.finish()
	if silent := j.silent(0, 3); len(silent) != 0 {
		t.Errorf("clients %v are silent since the beginning", silent)
	}
	if silent := j.silent(time.Hour, 3); len(silent) != 3 {
		t.Errorf("only clients %v are silent in an hour", silent)
	}
	r := &result{Mode: "sync", Seed: 5, For: time.Second, Elapsed: time.Second, Healed: time.Second / 2, Events: j.events, Samples: j.samples, Buckets: j.buckets,
		BucketWidth: j.width, journal: j, Report: &verify.Report{Targets: []string{"px1"}, Detours: []verify.Detour{{From: time.Second, To: 2 * time.Second}}, Findings: []verify.Finding{{Kind: verify.LostUpdate, What: "x < y", Ops: []verify.Op{{End: 1}}}}}}
	var b strings.Builder
	if err := writeSVG(&b, r); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
	for _, want := range []string{"pg1 – &lt;zk&gt;", "a &amp; b", "pg1: primary, timeline 7", "pg2 replica: 2 /s", "px1: 2 /s", "08007: 2 /s", "lost update: x &lt; y", "all healed", "went back to a history that it had left 1 times", "1 findings"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the picture does not show %q", want)
		}
	}
	b.Reset()
	if err := r.writeText(&b); err != nil || strings.Count(b.String(), "went back to a history that it had left") != 2 {
		t.Errorf("the head and the report do not both tell of the detour: %v: %s", err, b.String())
	}
}

// A client is served once it has read and written, one that only reads once it
// has read.
func TestSilentClients(t *testing.T) {
	j := newJournal(time.Second)
	reader, late := verify.Op{Client: 1, Kind: verify.KindRead, Reader: true, Outcome: verify.OK}, verify.Op{Client: 2, Kind: verify.KindWrite, Outcome: verify.OK}
	for client := range 3 {
		j.observe(verify.Op{Client: client, Kind: verify.KindRead, Outcome: verify.OK, Start: time.Hour, End: time.Hour})
	}
	j.observe(verify.Op{Client: 0, Kind: verify.KindWrite, Outcome: verify.OK, Start: time.Hour, End: time.Hour})
	if silent := j.silent(time.Minute, 3); !slices.Equal(silent, []int{1, 2}) {
		t.Errorf("clients %v are silent, not 1 and 2", silent)
	}
	reader.Start, reader.End = time.Hour, time.Hour
	j.observe(reader)
	j.observe(late)
	if silent := j.silent(time.Minute, 3); !slices.Equal(silent, []int{2}) {
		t.Errorf("clients %v are silent, not 2", silent)
	}
}

// Every kind comes as often as its weight says before any comes again.
func TestBagHoldsEveryKind(t *testing.T) {
	list := recipes()
	hat, rng, drawn, sum := bag{all: list}, rand.New(rand.NewPCG(1, 2)), map[string]int{}, 0
	for _, r := range list {
		sum += r.weight
	}
	for i := range sum {
		kind := hat.draw(rng).kind
		if drawn[kind]++; i < len(list) && drawn[kind] > 1 {
			t.Errorf("%s came again before every kind had come", kind)
		}
	}
	for _, r := range list {
		if drawn[r.kind] != r.weight {
			t.Errorf("%s came %d times, not %d", r.kind, drawn[r.kind], r.weight)
		}
	}
	for _, kind := range append(openings, switchover) {
		if drawn[kind] == 0 {
			t.Errorf("there is no %q to begin with", kind)
		}
	}
}

// What does not fit comes again once another one did, and every other opening is
// a switchover.
func TestBagOffersAgain(t *testing.T) {
	hat, rng := bag{all: recipes(), planned: true}, rand.New(rand.NewPCG(1, 2))
	hat.open(rng)
	if got := hat.draw(rng); got.kind != switchover {
		t.Errorf("the first opening is %s", got.kind)
	}
	hat.aside = append(hat.aside, recipe{kind: "unfit"})
	hat.draw(rng)
	hat.again()
	if got := hat.draw(rng); got.kind != "unfit" {
		t.Errorf("%s comes, not what did not fit", got.kind)
	}
	hat.open(rng)
	if got := hat.draw(rng); !slices.Contains(openings, got.kind) {
		t.Errorf("the second opening is %s", got.kind)
	}
	hat = bag{all: hat.all[:1]}
	hat.open(rng) // nothing there changes the primary
	for range 20 {
		got := hat.draw(rng)
		if got.kind != hat.all[0].kind {
			t.Errorf("%s comes", got.kind)
		}
		hat.aside = append(hat.aside, got)
	}
	if most := hat.all[0].weight + 1; len(hat.aside) > most {
		t.Errorf("%d are put aside, more than %d", len(hat.aside), most)
	}
}
