package client_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

func report(code string) *wire.Report {
	return &wire.Report{Severity: "ERROR", Code: code, Message: "x"}
}

// share makes a, which is new, a client of the session of b.
func (a *actor) share(b *actor) {
	a.session = b.session
	a.m.Init(a.env, a.db, a.session, a.env.Settings.Empty(), client.Policy{Wait: 100 * time.Millisecond, MaxStaleness: time.Second})
}

// act carries out one line of a scenario that is not an expectation.
func (s *stage) act(line string) error {
	s.Helper()
	name := "1"
	if verb, rest, ok := strings.Cut(line, "@"); ok && !strings.ContainsAny(verb, " (") {
		i := strings.IndexAny(rest, " :")
		if i < 0 {
			i = len(rest)
		}
		name, line = rest[:i], verb+rest[i:]
	}
	a := s.actor[name]
	verb, args, _ := strings.Cut(line, " ")
	if verb == "enter" {
		s.enter(name, strings.FieldsFunc(args, func(r rune) bool { return r == ' ' || r == '=' })...)
		return nil
	}
	if verb == "alike" { // a client of the same session as the first
		s.enter(name)
		s.actor[name].share(s.actor["1"])
		return nil
	}
	if a == nil {
		a = s.enter(name)
	}
	switch verb {
	case "client:":
		a.feed(frontend(args), false)
	case "server:":
		a.feed(answers(args), true)
	case "hold":
		a.hold[args] = true
	case "unhold":
		delete(a.hold, args)
	case "routed":
		a.routed(args)
		a.settle()
	case "route-failed":
		a.waits = false
		a.step(client.Event{Kind: client.RouteFailed, Data: a.in, Report: report(args)})
		a.settle()
	case "leased":
		a.leased()
		a.settle()
	case "lease-failed":
		code, elsewhere, _ := strings.Cut(args, " ")
		a.waits = false
		a.step(client.Event{Kind: client.LeaseFailed, Data: a.in, Report: report(code), Elsewhere: elsewhere != ""})
		a.settle()
	case "gone":
		a.be, a.back, a.waits = nil, nil, false
		a.step(client.Event{Kind: client.BackendGone, Data: a.in})
		a.settle()
	case "parked:": // what the parked backend says
		a.parked = append(a.parked, answers(args)...)
	case "home-gone":
		a.home, a.homeless = nil, true
		a.step(client.Event{Kind: client.HomeGone, Data: a.parked})
		a.parked = nil
		a.settle()
	case "cancel":
		a.waits = false
		a.step(client.Event{Kind: client.Cancel, Data: a.in})
		a.settle()
	case "former": // the primary has changed since its backend was dialled
		a.be.Era--
	case "current": // it has not after all
		a.be.Era++
	case "captures": // every backend of the primary from now on
		s.captures = true
	case "resolved": // what became of the COMMIT
		a.waits = false
		v := router.Verdict{Era: s.r.Topology().Era()}
		for _, o := range []router.Outcome{router.OutcomeUnknown, router.OutcomeCommitted, router.OutcomeAborted} {
			if o.String() == args {
				v.Outcome = o
			}
		}
		a.step(client.Event{Kind: client.Resolved, Verdict: v})
		a.settle()
	case "heard", "heard-failed": // what the shared listener says to AwaitHeard
		ev := client.Event{Kind: client.Heard}
		if args != "" {
			ev.Report = report(args)
		}
		a.waits = false
		a.step(ev)
		a.settle()
	case "notified":
		a.step(client.Event{Kind: client.Notified, Data: answers(args)})
	case "missed":
		a.step(client.Event{Kind: client.Missed})
	case "overheard":
		a.step(client.Event{Kind: client.Overheard})
	case "encoding":
		a.m.Reported("client_encoding", args)
	case "hesitate":
		a.step(client.Event{Kind: client.Hesitates, Data: a.in})
		a.settle()
	case "ticket-ready":
		a.ticket()
		a.settle()
	case "ticket-failed":
		a.waits = false
		a.step(client.Event{Kind: client.TicketReady, Data: a.in, Report: report(args)})
		a.settle()
	case "other-unnamed": // somebody has left an unnamed statement behind on every idle backend
		for _, l := range s.idle {
			for _, be := range l {
				be.Unnamed = 1 << 40
			}
		}
	case "fill": // the backend of a node that was used last knows as many statements as it may
		be := s.idle[args][len(s.idle[args])-1]
		for i := range 256 {
			be.Add(1<<30 + uint64(i))
		}
	case "pin":
		if got := a.m.Pin(); (got != "") != (args != "no") || args != "no" && args != "" && got != args {
			return fmt.Errorf("the pin is %q", got)
		}
	case "retreats":
		if got := a.m.Retreats(); got != (args != "no") {
			return fmt.Errorf("it retreats: %v", got)
		}
	case "ticket":
		now := a.session.Ticket()
		took := now != a.wrote
		a.wrote = now
		if took != (args != "no") {
			return fmt.Errorf("a ticket was taken: %v", took)
		}
		if now != 0 { // the next one differs
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if _, err := s.r.WaitTicket(ctx, now); err != nil {
				return err
			}
		}
	case "until-write": // and a plain BEGIN is READ COMMITTED
		a.m.Reported(client.DefaultIsolation, "read committed")
		a.feed(frontend("Q(set pgroute.transaction_reads = 'until-write')"), false)
		a.heard = nil
	case "ddl": // through another loop
		s.db.Changed()
	case "stale":
		s.db.stale = args != "no"
	default:
		return fmt.Errorf("nobody knows %q", verb)
	}
	return nil
}
