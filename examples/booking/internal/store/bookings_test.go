package store_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/examples/booking/internal/store"
)

// answer is what the primary answers to one statement.
type answer struct {
	to   string // how the statement begins
	rows [][]any
	err  error
}

// script is a Way whose primary answers what it is told to.
type script struct {
	store.Way
	t       *testing.T
	answers []answer
}

func (s *script) Primary(_ context.Context, sql string, _ []any, scan func(pgx.Rows) error) (store.Route, string, error) {
	if len(s.answers) == 0 {
		s.t.Fatalf("an unexpected statement: %s", sql)
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	if !strings.HasPrefix(strings.TrimSpace(sql), a.to) {
		s.t.Fatalf("got %s, want %s", sql, a.to)
	}
	if a.err != nil {
		return store.Route{}, "", a.err
	}
	return store.Route{Node: "pg1"}, "pgr1_x", scan(&rows{all: a.rows})
}

// rows are rows that are there already.
type rows struct {
	pgx.Rows
	all [][]any
	now []any
}

func (r *rows) Next() bool {
	if len(r.all) == 0 {
		return false
	}
	r.now, r.all = r.all[0], r.all[1:]
	return true
}

func (r *rows) Scan(into ...any) error {
	for i := range into {
		if r.now[i] != nil {
			reflect.ValueOf(into[i]).Elem().Set(reflect.ValueOf(r.now[i]))
		}
	}
	return nil
}

func (r *rows) FieldDescriptions() []pgconn.FieldDescription {
	return make([]pgconn.FieldDescription, len(r.now))
}
func (r *rows) RawValues() [][]byte { return make([][]byte, len(r.now)) }
func (r *rows) Err() error          { return nil }
func (r *rows) Close()              {}

// What happens between the statements of a booking, and what becomes of it.
func TestBookResolvesWhatIsUnknown(t *testing.T) {
	created := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	mine := [][]any{{int64(7), int64(1), int64(2), "Ann", created, nil}}
	others := [][]any{{int64(7), int64(1), int64(2), "Bob", created, nil}}
	gone := [][]any{{int64(7), int64(1), int64(2), "Ann", created, &created}}
	const insert, byKey, begun = "INSERT INTO bookings", "SELECT id, slot_id", "SELECT lower(during) <= now()"
	state := func(code string) error { return &pgconn.PgError{Code: code} }
	for _, tt := range []struct {
		what    string
		answers []answer
		made    bool
		err     error
	}{
		{"the usual way", []answer{{insert, mine, nil}}, true, nil},
		{"the answer was lost, nothing had happened", []answer{{insert, nil, io.ErrUnexpectedEOF}, {insert, mine, nil}}, true, nil},
		{"the answer was lost, the seat was booked", []answer{{insert, nil, io.ErrUnexpectedEOF}, {insert, nil, nil}, {byKey, mine, nil}}, false, nil},
		{"the outcome of the commit is unknown", []answer{{insert, nil, state("08007")}, {insert, nil, nil}, {byKey, mine, nil}}, false, nil},
		// The first attempt commits while the second one inserts.
		{"the first attempt is in the way of the second", []answer{{insert, nil, io.EOF}, {insert, nil, state("23505")}, {byKey, mine, nil}}, false, nil},
		{"the same, by the exclusion constraint", []answer{{insert, nil, io.EOF}, {insert, nil, state("23P01")}, {byKey, mine, nil}}, false, nil},
		{"somebody else was faster", []answer{{insert, nil, io.EOF}, {insert, nil, state("23505")}, {byKey, nil, nil}}, false, store.ErrSeatTaken},
		{"a deadlock between overlapping slots", []answer{{insert, nil, state("40P01")}, {insert, nil, state("23P01")}, {byKey, nil, nil}}, false, store.ErrSeatTaken},
		{"the look-up was lost", []answer{{insert, nil, nil}, {byKey, nil, io.EOF}, {insert, nil, nil}, {byKey, mine, nil}}, false, nil},
		{"the key is somebody else's", []answer{{insert, nil, nil}, {byKey, others, nil}}, false, store.ErrKeyReused},
		{"the booking was cancelled", []answer{{insert, nil, nil}, {byKey, gone, nil}}, false, store.ErrCancelled},
		{"no such seat", []answer{{insert, nil, state("23503")}}, false, store.ErrNoSeat},
		{"no such slot", []answer{{insert, nil, nil}, {byKey, nil, nil}, {begun, nil, nil}}, false, store.ErrNoSlot},
		{"in the past", []answer{{insert, nil, nil}, {byKey, nil, nil}, {begun, [][]any{{true}}, nil}}, false, store.ErrPast},
		{"the slot was added meanwhile", []answer{{insert, nil, nil}, {byKey, nil, nil}, {begun, [][]any{{false}}, nil}, {insert, mine, nil}}, true, nil},
	} {
		s := &script{t: t, answers: tt.answers}
		b, receipt, made, err := store.New(s).Book(t.Context(), store.Wish{Key: "k", Slot: 1, Seat: 2, Customer: "Ann"})
		if !errors.Is(err, tt.err) || made != tt.made || len(s.answers) != 0 {
			t.Errorf("%s: made %v, %v; %d statements were not sent", tt.what, made, err, len(s.answers))
		}
		if tt.err == nil && (b.ID != 7 || b.Customer != "Ann" || receipt.Token == "") {
			t.Errorf("%s: %+v %+v", tt.what, b, receipt)
		}
	}
}
