package settings_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/settings"
)

func never(string) bool { return false }

// session is a server's session as far as alignment changes it. Only the login
// role may change what begins with "super".
type session struct {
	values map[string]string
	role   string
}

// run runs what AppendAlign made.
func (s *session) run(t *testing.T, sql string) {
	t.Helper()
	for _, one := range strings.Split(strings.TrimSuffix(sql, ";"), ";") {
		name, value, _ := strings.Cut(one, " = ")
		switch {
		case one == "":
		case one == "RESET ROLE":
			s.role = ""
		case strings.HasPrefix(one, "SET ROLE "):
			s.role = one[9:]
		case strings.HasPrefix(one, "RESET "):
			s.may(t, unquote(one[6:]))
			delete(s.values, unquote(one[6:]))
		case strings.HasPrefix(one, "SELECT pg_catalog.set_config(E'"):
			args := strings.Split(strings.TrimSuffix(one[31:], "', false)"), "', E'")
			if args[0] == "role" {
				s.role = args[1]
				continue
			}
			s.may(t, args[0])
			s.values[args[0]] = settings.Startup(args[1])
		case strings.HasPrefix(name, "SET "):
			s.may(t, unquote(name[4:]))
			s.values[unquote(name[4:])] = value
		default:
			t.Fatalf("nobody understands %q", one)
		}
	}
}

func (s *session) may(t *testing.T, name string) {
	t.Helper()
	if strings.HasPrefix(name, "super") && s.role != "" {
		t.Fatalf("the role %s may not set %s", s.role, name)
	}
}

func unquote(name string) string { return strings.ReplaceAll(name, `"`, "") }

// TestAlignMakesWhatIsWanted: whatever a backend has, alignment gives it what
// the next client wants.
func TestAlignMakesWhatIsWanted(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	in := settings.NewInterner(64)
	names := []string{"work_mem", "timezone", "search_path", "super.secret", "superb", "role", "my.own"}
	random := func() *settings.Set {
		s := in.Empty()
		for range rnd.IntN(6) {
			name, value := names[rnd.IntN(len(names))], fmt.Sprint(rnd.IntN(3))
			switch {
			case rnd.IntN(4) == 0:
				s = in.Without(s, name)
			case rnd.IntN(3) == 0:
				s = in.With(s, name, settings.Startup(value))
			default:
				s = in.With(s, name, value)
			}
		}
		return s
	}
	of := func(s *settings.Set) *session {
		have := &session{values: map[string]string{}}
		for _, n := range names {
			v, ok := s.Value(n)
			switch {
			case !ok:
			case n == "role":
				have.role = settings.Plain(v)
			default:
				have.values[n] = v
			}
		}
		return have
	}
	for range 20000 {
		from, to := random(), random()
		have, want := of(from), of(to)
		sql := string(settings.AppendAlign(nil, from, to, never))
		have.run(t, sql)
		if have.role != want.role || !maps.Equal(have.values, want.values) {
			t.Fatalf("%q makes %v, want %v", sql, have, want)
		}
		if from == to && sql != "" {
			t.Fatalf("from %v to itself: %q", want, sql)
		}
	}
}

// TestSameSettingsAreOneSet, in whatever order they were made.
func TestSameSettingsAreOneSet(t *testing.T) {
	in := settings.NewInterner(8)
	a := in.With(in.With(in.Empty(), "x", "1"), "y", "2")
	b := in.Without(in.With(in.With(in.With(in.Empty(), "y", "1"), "z", "3"), "x", "1"), "z")
	if b = in.With(b, "y", "2"); a != b {
		t.Error("two sets of the same settings")
	}
	if in.Without(in.Without(a, "x"), "y") != in.Empty() {
		t.Error("two empty sets")
	}
	if in.Without(a, "nothing") != a {
		t.Error("to take nothing away changes the set")
	}
	// One that fell out still works.
	for i := range 100 {
		in.With(in.Empty(), "n", fmt.Sprint(i))
	}
	again := in.With(in.With(in.Empty(), "x", "1"), "y", "2")
	if sql := settings.AppendAlign(nil, a, again, never); len(sql) != 0 {
		t.Errorf("between equal sets: %q", sql)
	}
	if v, ok := again.Value("y"); !ok || v != "2" || again.Len() != 2 {
		t.Errorf("the set holds %q, %v, %d", v, ok, again.Len())
	}
}

// TestAlignQuotes what a client has chosen.
func TestAlignQuotes(t *testing.T) {
	in := settings.NewInterner(8)
	for _, c := range []struct{ name, value, want string }{
		{"work_mem", "'1MB'", `SET "work_mem" = '1MB';`},
		{`my."odd`, "1", `SET "my"."""odd" = 1;`},
		{"search_path", settings.Startup("a, b"), `SELECT pg_catalog.set_config(E'search_path', E'a, b', false);`},
		{"application_name", settings.Startup(`it's \ me`), `SELECT pg_catalog.set_config(E'application_name', E'it''s \\ me', false);`},
		{"role", "app", `SET ROLE app;`},
		{"role", settings.Startup("app"), `SELECT pg_catalog.set_config(E'role', E'app', false);`},
	} {
		got := string(settings.AppendAlign(nil, in.Empty(), in.With(in.Empty(), c.name, c.value), never))
		if got != c.want {
			t.Errorf("%s = %q: %s, want %s", c.name, c.value, got, c.want)
		}
	}
	guarded := in.With(in.Empty(), "default_transaction_read_only", "off")
	if sql := settings.AppendAlign(nil, in.Empty(), guarded, func(name string) bool { return true }); len(sql) != 0 {
		t.Errorf("what must stay is changed: %s", sql)
	}
}

func TestDateStyleAddsUp(t *testing.T) {
	in := settings.NewInterner(10)
	for _, test := range []struct{ before, set, want string }{
		{"", "ymd", "ymd"},
		{"ymd", "iso", "'iso, ymd'"},
		{"'iso, ymd'", "DMY", "'iso, dmy'"},
		{"'ISO'", "'SQL'", "'sql'"},
		{settings.Startup("Postgres, MDY"), "ymd", "'postgres, ymd'"},
		{"'iso, ymd'", "german", "'german, dmy'"},
		{"'iso, ymd'", "'german, mdy'", "'german, mdy'"},
		{"'iso, dmy'", "'Postgres', 'US'", "'postgres, mdy'"},
		{"'iso, dmy'", "nonsense", "nonsense"}, // the server refuses it
	} {
		s := in.Empty()
		if test.before != "" {
			s = in.With(s, "datestyle", test.before)
		}
		if got := s.After("datestyle", test.set); got != test.want {
			t.Errorf("%q, then %q: got %q, want %q", test.before, test.set, got, test.want)
		}
	}
	if got := in.With(in.Empty(), "x", "1").After("x", "2"); got != "2" {
		t.Errorf("another setting became %q", got)
	}
	from, to := in.With(in.Empty(), "datestyle", "'iso, ymd'"), in.With(in.Empty(), "datestyle", "'sql'")
	want := `RESET datestyle;SET "datestyle" = 'sql';`
	if got := string(settings.AppendAlign(nil, from, to, func(string) bool { return false })); got != want {
		t.Errorf("align: %s, want %s", got, want)
	}
}
