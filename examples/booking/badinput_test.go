package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/lsn"
)

func TestBadInputIsRefusedClearly(t *testing.T) {
	ways(t, func(t *testing.T, s *stage, p *process) {
		past := int64(s.count(t, `INSERT INTO slots (during) VALUES (tstzrange(now() - interval '2 hours' - random() * interval '1 minute', now() - interval '1 hour')) RETURNING id`))
		seat := newSeat()
		b := p.book(t, key(t), 1, seat)
		real, err := lsn.ParseToken(b.Token)
		if err != nil {
			t.Fatal(err)
		}
		changed := func(change func(*lsn.Position)) string {
			pos := real
			change(&pos)
			return lsn.EncodeToken(pos)
		}
		foreign := changed(func(p *lsn.Position) { p.SystemID++ })
		future := changed(func(p *lsn.Position) { p.LSN += 1 << 40 })
		bookings := s.count(t, "SELECT count(*) FROM bookings")

		good := wish(1, newSeat(), "Ann")
		keyed := []string{"Idempotency-Key", key(t) + "-bad"}
		read := fmt.Sprintf("/api/seats?slot=1&seat=%d", seat)
		for _, tt := range []struct {
			what, method, path, body string
			header                   []string
			status                   int
			code                     string
		}{
			{"no key", "POST", "/api/bookings", good, nil, 400, "bad_key"},
			{"a key with a space", "POST", "/api/bookings", good, []string{"Idempotency-Key", "a b"}, 400, "bad_key"},
			{"a long key", "POST", "/api/bookings", good, []string{"Idempotency-Key", strings.Repeat("x", 201)}, 400, "bad_key"},
			{"no body", "POST", "/api/bookings", "", keyed, 400, "bad_json"},
			{"not JSON", "POST", "/api/bookings", "slot=1&seat=2", keyed, 400, "bad_json"},
			{"half an object", "POST", "/api/bookings", `{"slot":1,"seat":`, keyed, 400, "bad_json"},
			{"two objects", "POST", "/api/bookings", good + good, keyed, 400, "bad_json"},
			{"an array", "POST", "/api/bookings", "[" + good + "]", keyed, 400, "bad_json"},
			{"an unknown field", "POST", "/api/bookings", `{"slot":1,"seat":2,"customer":"Ann","vip":true}`, keyed, 400, "bad_json"},
			{"a text for a number", "POST", "/api/bookings", `{"slot":"1","seat":2,"customer":"Ann"}`, keyed, 400, "bad_json"},
			{"a fraction", "POST", "/api/bookings", `{"slot":1.5,"seat":2,"customer":"Ann"}`, keyed, 400, "bad_json"},
			{"a number for a text", "POST", "/api/bookings", `{"slot":1,"seat":2,"customer":7}`, keyed, 400, "bad_json"},
			{"a long body", "POST", "/api/bookings", `{"customer":"` + strings.Repeat("x", 20<<10) + `"}`, keyed, 413, "too_long"},
			{"no customer", "POST", "/api/bookings", wish(1, seat, "  "), keyed, 400, "bad_customer"},
			{"a long name", "POST", "/api/bookings", wish(1, seat, strings.Repeat("é", 81)), keyed, 400, "bad_customer"},
			{"a NUL in the name", "POST", "/api/bookings", `{"slot":1,"seat":2,"customer":"a\u0000b"}`, keyed, 400, "bad_customer"},
			{"a seat that does not exist", "POST", "/api/bookings", wish(1, 999999, "Ann"), keyed, 404, "no_such_seat"},
			{"seat 0", "POST", "/api/bookings", wish(1, 0, "Ann"), keyed, 404, "no_such_seat"},
			{"the largest seat", "POST", "/api/bookings", wish(1, 1<<63-1, "Ann"), keyed, 404, "no_such_seat"},
			{"a slot that does not exist", "POST", "/api/bookings", wish(999999, seat, "Ann"), keyed, 404, "no_such_slot"},
			{"a slot in the past", "POST", "/api/bookings", wish(past, seat, "Ann"), keyed, 422, "in_the_past"},
			{"a seat that is taken", "POST", "/api/bookings", wish(1, seat, "Ann"), keyed, 409, "seat_taken"},
			{"the key of another booking", "POST", "/api/bookings", wish(1, seat, "Bob"), []string{"Idempotency-Key", key(t)}, 422, "key_reused"},
			{"a booking that does not exist", "GET", "/api/bookings/999999", "", nil, 404, "no_such_booking"},
			{"cancel what does not exist", "DELETE", "/api/bookings/999999", "", nil, 404, "no_such_booking"},
			{"an id that is no number", "GET", "/api/bookings/x", "", nil, 400, "bad_request"},
			{"a negative id", "DELETE", "/api/bookings/-1", "", nil, 400, "bad_request"},
			{"no slot", "GET", "/api/seats?room=1", "", nil, 400, "bad_request"},
			{"no room", "GET", "/api/seats?slot=1", "", nil, 400, "bad_request"},
			{"SQL for a slot", "GET", "/api/seats?slot=1%20OR%201%3D1&room=1", "", nil, 400, "bad_request"},
			{"no such room", "GET", "/api/seats?slot=1&room=77", "", nil, 404, "no_such_room"},
			{"no such slot", "GET", "/api/seats?slot=999999&room=1", "", nil, 404, "no_such_room"},
			{"a level that does not exist", "GET", read, "", []string{"X-Consistency", "strongest"}, 400, "bad_consistency"},
			{"the same in the query", "GET", read + "&consistency=x", "", nil, 400, "bad_consistency"},
			{"a malformed token", "GET", read, "", []string{"Pgroute-Token", "pgr1_x'; DROP TABLE bookings"}, 400, "bad_token"},
			{"a malformed token, at eventual", "GET", read, "", []string{"Pgroute-Token", "x", "X-Consistency", "eventual"}, 400, "bad_token"},
			{"a token from another cluster", "GET", read, "", []string{"Pgroute-Token", foreign}, 400, "bad_token"},
			{"the same, at strong", "GET", read, "", []string{"Pgroute-Token", foreign, "X-Consistency", "strong"}, 400, "bad_token"},
			{"a token from the future", "GET", read, "", []string{"Pgroute-Token", future}, 400, "bad_token"},
			{"a configuration that makes no sense", "PUT", "/api/config", `{"consistency":"maybe"}`, nil, 400, "bad_config"},
			{"a wait that is too long", "PUT", "/api/config", `{"wait":"1h"}`, nil, 400, "bad_config"},
			{"an unknown setting", "PUT", "/api/config", `{"colour":"red"}`, nil, 400, "bad_json"},
			{"a server that does not exist", "POST", "/api/late", `{"node":"pg9","late":true}`, nil, 404, "no_such_node"},
			{"the primary", "POST", "/api/late", `{"node":"pg1","late":true}`, nil, 409, "not_a_replica"},
			{"a fight of nobody", "POST", "/api/fight", `{"slot":1,"seat":1,"users":0}`, nil, 400, "bad_users"},
			{"a fight of too many", "POST", "/api/fight", `{"slot":1,"seat":1,"users":100000}`, nil, 400, "bad_users"},
			{"a fight for nothing", "POST", "/api/fight", `{"slot":1,"seat":999999,"users":2}`, nil, 404, "no_such_seat"},
			{"events of no room", "GET", "/api/events?slot=1&room=77", "", nil, 404, "no_such_room"},
			{"events of half a topic", "GET", "/api/events?slot=1", "", nil, 400, "bad_request"},
			{"what does not exist", "GET", "/api/nothing", "", nil, 404, "not_found"},
			{"another site", "POST", "/api/bookings", good, append([]string{"Sec-Fetch-Site", "cross-site"}, keyed...), 403, ""},
		} {
			r := p.send(t, tt.method, tt.path, tt.body, tt.header...)
			if r.status != tt.status || r.code() != tt.code {
				t.Errorf("%s: %d %s, want %d %s", tt.what, r.status, r.body, tt.status, tt.code)
			}
			if tt.code != "" && !strings.Contains(r.body, `"message":"`) {
				t.Errorf("%s: no message: %s", tt.what, r.body)
			}
		}
		if n := s.count(t, "SELECT count(*) FROM bookings"); n != bookings {
			t.Errorf("there are %d bookings, there were %d", n, bookings)
		}

		// A token from before a restart of the primary stands for what survived.
		expired := changed(func(p *lsn.Position) { p.Incarnation -= 1e6; p.LSN += 1 << 40 })
		if got := p.look(t, 1, seat, "Pgroute-Token", expired); !got.Seats[0].Taken {
			t.Errorf("with an expired token the seat is shown as %+v", got)
		}
		// A browser cannot help what is in its cookie.
		for _, bad := range []string{foreign, "nonsense"} {
			r := p.send(t, "GET", read, "", "Cookie", "pgroute_token="+bad)
			var got seen
			r.has(t, &got)
			if !got.Seats[0].Taken || got.Route.Level != "strong" || !strings.Contains(r.header.Get("Set-Cookie"), "pgroute_token=; Path=/; Max-Age=0") {
				t.Errorf("with a bad cookie: %s %v", r.body, r.header)
			}
		}
		if got := p.look(t, 1, seat, "Cookie", "pgroute_token="+b.Token); !got.Seats[0].Taken || got.Route.Level != "session" {
			t.Errorf("with the cookie: %+v", got)
		}
	})
}

func TestPageNeedsNothingInline(t *testing.T) {
	s := share(t)
	p := s.instance(t, path(t), "one", s.sidecar(t, ""))
	r := p.send(t, "GET", "/", "")
	if r.status != http.StatusOK || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %v", r.status, r.header)
	}
	if csp := r.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy: %s", csp)
	}
	for _, inline := range []string{"<script>", "<style", " style=", " onclick=", "http://", "https://"} {
		if strings.Contains(strings.ReplaceAll(r.body, "http://www.w3.org/", ""), inline) {
			t.Errorf("the page has %q in it, which its policy forbids", inline)
		}
	}
	for _, part := range strings.Split(r.body, `="/page/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if r := p.send(t, "GET", "/page/"+name, ""); r.status != http.StatusOK {
			t.Errorf("/page/%s: %d", name, r.status)
		}
	}
}

func TestCommandLineIsChecked(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "which command?"},
		{[]string{"brew"}, `unknown command "brew"`},
		{[]string{"serve"}, "booking serve needs --name"},
		{[]string{"serve", "--name", "a", "--zookeeper", "x:1"}, "booking serve needs --dsn"},
		{[]string{"serve", "--name", "a", "--zookeeper", "x:1", "--dsn", "host=x", "--via", "magic"}, `--via "magic" is neither`},
		{[]string{"serve", "--name", "a", "--zookeeper", "x:1", "--dsn", "host=x", "--via", "library"}, "needs --cluster-path"},
		{[]string{"serve", "--name", "a/b", "--zookeeper", "x:1", "--dsn", "host=x", "--listen", "127.0.0.1:0"}, `"a/b" cannot be the name`},
		{[]string{"serve", "--name", "a", "--zookeeper", "x:1", "--dsn", "host=x", "--operator", "port=nonsense"}, "--operator: "},
		{[]string{"serve", "--name", "a", "--zookeeper", "x:1", "--dsn", "host=x", "more"}, `unexpected argument "more"`},
		{[]string{"serve", "--colour", "red"}, "flag provided but not defined"},
		{[]string{"balance"}, "booking balance needs --zookeeper"},
		{[]string{"balance", "--zookeeper", "x:1", "--path", "booking", "--listen", "127.0.0.1:0"}, `"booking" is not the path of a znode`},
		{[]string{"balance", "--zookeeper", "x:1", "--listen", "8080"}, "is not HOST:PORT"},
		{[]string{"init"}, "booking init needs --dsn"},
		{[]string{"init", "--dsn", "host=x", "--rooms", "0"}, "1 to 500 rooms"},
	} {
		var text logs
		err := run(t.Context(), tt.args, &text, &text)
		if _, ok := err.(*usageError); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want a usage error with %q", tt.args, err, tt.want)
		}
	}
}

// Every part of the schema may be there already, and several may create it.
func TestInitMayBeRunAgain(t *testing.T) {
	s := share(t)
	before := s.count(t, "SELECT count(*) FROM seats")
	ended := make(chan error)
	for range 4 {
		go func() {
			ended <- run(t.Context(), []string{"init", "--rooms", "2", "--dsn", fmt.Sprintf(appDSN, s.db.Primary().Addr())}, new(logs), new(logs))
		}()
	}
	for range 4 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if after := s.count(t, "SELECT count(*) FROM seats"); after != before {
		t.Errorf("there were %d seats, now there are %d", before, after)
	}
}
