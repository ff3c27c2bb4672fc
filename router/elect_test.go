package router

import (
	"strings"
	"testing"
	"time"
)

func TestElect(t *testing.T) {
	now := time.Unix(1000, 0)
	primary := func(name string, timeline uint32) claim {
		return claim{name: name, tried: true, answers: true, st: Status{SystemID: 1, Timeline: timeline, At: now}}
	}
	replica := func(name string, timeline uint32) claim {
		c := primary(name, timeline)
		c.st.InRecovery = true
		return c
	}
	gone := func(name string) claim { return claim{name: name, tried: true} }
	of := func(c claim, system uint64) claim { c.st.SystemID = system; return c }
	stale := func(c claim) claim { c.st.At = now.Add(-time.Minute); return c }
	asking := func(nodes ...claim) ballot { return ballot{nodes: nodes, incumbent: -1} }
	since := func(b ballot, incumbent int) ballot {
		b.incumbent, b.systemID, b.timeline = incumbent, 1, 1
		return b
	}
	named := func(name string, nodes ...claim) ballot {
		return ballot{nodes: nodes, named: true, name: name, incumbent: -1, confirmed: now, validFor: 10 * time.Second}
	}
	silent := func(b ballot) ballot { b.confirmed = now.Add(-time.Minute); return b }
	patient := func(b ballot) ballot { b.patience = true; return b }

	for _, test := range []struct {
		reason string
		b      ballot
		want   int
		why    string
	}{
		{"asking: the only primary", asking(replica("a", 1), primary("b", 1)), 1, ""},
		{"asking: none", asking(replica("a", 1), gone("b")), -1, "no server says"},
		{"asking: there is nobody to ask", asking(), -1, "has not named any server"},
		{"asking: at the start the highest timeline", asking(primary("a", 1), primary("b", 2)), 1, ""},
		{"asking: two on one timeline", asking(primary("a", 2), primary("b", 2), primary("c", 1)), -1, "several"},
		{"asking: everybody is heard first", patient(asking(primary("a", 1), claim{name: "b"})), -1, "b has not been reached"},
		{"asking: but not for ever", asking(primary("a", 1), claim{name: "b"}), 0, ""},
		{"asking: the incumbent stays", since(asking(primary("a", 1), replica("b", 1)), 0), 0, ""},
		{"asking: a second claimant makes writes wait", since(asking(primary("a", 1), primary("b", 2)), 0), -1, "a, b"},
		{"asking: the incumbent is gone", since(asking(gone("a"), primary("b", 2)), 0), 1, ""},
		{"asking: the incumbent was demoted", since(asking(replica("a", 2), primary("b", 2)), 0), 1, ""},
		{"asking: a primary of an earlier timeline rises again",
			func() ballot { b := since(asking(primary("a", 1), gone("b")), 1); b.timeline = 2; return b }(), -1, "below timeline 2"},
		{"asking: another cluster's primary does not count", since(asking(primary("a", 1), of(primary("b", 5), 9)), 0), 0, ""},
		{"asking: most decide which cluster it is", asking(of(primary("a", 5), 9), primary("b", 1), replica("c", 1)), 1, ""},

		{"named: it is", named("a", primary("a", 1), replica("b", 1)), 0, ""},
		{"named: nobody", named("", primary("a", 1)), -1, "names no primary"},
		{"named: nobody we know", named("x", primary("a", 1)), -1, "does not list"},
		{"named: it does not answer", named("a", gone("a"), primary("b", 2)), -1, "a does not answer"},
		{"named: it was not asked yet", named("a", claim{name: "a"}), -1, "a has not been reached"},
		{"named: it is still in recovery", named("a", replica("a", 1)), -1, "in recovery"},
		{"named: a non-leader on a higher timeline is fenced", named("a", primary("a", 1), primary("b", 2)), 0, ""},
		{"named: below an earlier leader's timeline",
			func() ballot { b := since(named("a", primary("a", 1)), 0); b.timeline = 2; return b }(), -1, "below timeline 2"},
		{"named: another cluster", since(named("a", of(primary("a", 1), 9)), 0), -1, "system identifier"},
		{"named: its cluster is the cluster", named("a", of(primary("a", 1), 9), replica("b", 1), replica("c", 1)), 0, ""},

		{"silent: everybody answers", silent(named("a", primary("a", 1), replica("b", 1))), 0, ""},
		{"silent: it failed over meanwhile", silent(named("a", replica("a", 2), primary("b", 2))), 1, ""},
		{"silent: one does not answer", silent(named("a", primary("a", 1), gone("b"))), -1, "b does not answer"},
		{"silent: one has not answered for long", silent(named("a", primary("a", 1), stale(replica("b", 1)))), -1, "b does not answer"},
		{"silent: one answered last while the source still spoke", func() ballot {
			late := replica("b", 1)
			late.st.At = now.Add(-6 * time.Second)
			b := named("a", primary("a", 1), late)
			b.confirmed, b.age = now.Add(-10*time.Second), time.Minute
			return b
		}(), -1, "b does not answer"},
		{"silent: two primaries", silent(named("a", primary("a", 1), primary("b", 2))), -1, "several"},
		{"silent: somebody follows a higher timeline", silent(named("a", primary("a", 1), replica("b", 2))), -1, "higher timeline"},
		{"silent: one is named no more", func() ballot {
			b := silent(named("a", primary("a", 1), replica("b", 1)))
			b.departed = []string{"c"}
			return b
		}(), -1, "the source is silent, and c, which it named before"},
		{"silent: no primary", silent(named("a", replica("a", 1))), -1, "no server says"},
	} {
		test.b.now, test.b.age = now, 5*time.Second
		v := elect(&test.b)
		if v.primary != test.want || (v.reason == "") != (test.want >= 0) || !strings.Contains(v.reason, test.why) {
			t.Errorf("%s: elected %d (%q), want %d (%q)", test.reason, v.primary, v.reason, test.want, test.why)
		}
		if limited := test.b.named && v.primary >= 0; limited != !v.until.IsZero() {
			t.Errorf("%s: the proof ends %s", test.reason, v.until)
		}
	}

	v := elect(&ballot{nodes: []claim{primary("a", 1), primary("b", 2), of(replica("c", 1), 9)}, named: true, name: "a",
		incumbent: 0, systemID: 1, now: now})
	if v.fenced != 1<<1 || v.foreign != 1<<2 {
		t.Errorf("fenced %b, foreign %b", v.fenced, v.foreign)
	}
}
