package pgxdb

import (
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// rows is the answer of one query, as pgx.Rows and as pgx.Row. It holds a lease
// until it is exhausted or closed.
type rows struct {
	pgx.Rows // nil if there was no answer at all
	lease    *lease
	// held is true if the lease goes on after these rows: a transaction's, or
	// that of an acquired connection.
	held bool
	// ahead is true while the first row was fetched, but not asked for.
	ahead bool
	err   error
}

var (
	_ pgx.Rows = (*rows)(nil)
	_ pgx.Row  = (*row)(nil)
)

// row is rows with the Scan of a single row.
type row rows

// failed returns rows that have nothing but an error.
func failed(err error) *rows { return &rows{err: err} }

// finish ends the rows: the write gets its ticket, and the lease is given back
// if it was for these rows only. It may be called more than once.
func (r *rows) finish() {
	l := r.lease
	if l == nil {
		return
	}
	r.lease = nil
	err := r.Rows.Err()
	l.settle(r.Rows.CommandTag(), err)
	if r.held {
		if err != nil {
			r.err = l.explain(err)
		}
		return
	}
	if err = l.done(err); err != nil {
		r.err = err
	}
}

// Close implements pgx.Rows.
func (r *rows) Close() {
	r.ahead = false
	if r.Rows != nil {
		r.Rows.Close()
	}
	r.finish()
}

// Err implements pgx.Rows.
func (r *rows) Err() error {
	if r.err != nil || r.Rows == nil {
		return r.err
	}
	return r.Rows.Err()
}

// Next implements pgx.Rows.
func (r *rows) Next() bool {
	if r.Rows == nil {
		return false
	}
	if r.ahead {
		r.ahead = false
		return true
	}
	if r.Rows.Next() {
		return true
	}
	r.finish()
	return false
}

// Scan implements pgx.Rows.
func (r *rows) Scan(dest ...any) error {
	if r.Rows == nil {
		return r.err
	}
	err := r.Rows.Scan(dest...)
	if err != nil {
		r.Close()
	}
	return err
}

// Values implements pgx.Rows.
func (r *rows) Values() ([]any, error) {
	if r.Rows == nil {
		return nil, r.err
	}
	values, err := r.Rows.Values()
	if err != nil {
		r.Close()
	}
	return values, err
}

// CommandTag implements pgx.Rows.
func (r *rows) CommandTag() pgconn.CommandTag {
	if r.Rows == nil {
		return pgconn.CommandTag{}
	}
	return r.Rows.CommandTag()
}

// FieldDescriptions implements pgx.Rows.
func (r *rows) FieldDescriptions() []pgconn.FieldDescription {
	if r.Rows == nil {
		return nil
	}
	return r.Rows.FieldDescriptions()
}

// RawValues implements pgx.Rows.
func (r *rows) RawValues() [][]byte {
	if r.Rows == nil {
		return nil
	}
	return r.Rows.RawValues()
}

// Conn implements pgx.Rows.
func (r *rows) Conn() *pgx.Conn {
	if r.Rows == nil {
		return nil
	}
	return r.Rows.Conn()
}

// TypeMap implements pgx.Rows.
func (r *rows) TypeMap() *pgtype.Map {
	if r.Rows == nil {
		return nil
	}
	return r.Rows.TypeMap()
}

// Scan implements pgx.Row as pgx does: the first row, or pgx.ErrNoRows.
func (r *row) Scan(dest ...any) error {
	rs := (*rows)(r)
	if rs.Rows == nil {
		return rs.err
	}
	defer rs.Close()
	if err := rs.Err(); err != nil {
		return err
	}
	for _, d := range dest {
		if _, ok := d.(*pgtype.DriverBytes); ok {
			return errors.New("cannot scan into *pgtype.DriverBytes from QueryRow")
		}
	}
	if !rs.Next() {
		if err := rs.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := rs.Rows.Scan(dest...); err != nil {
		return err
	}
	rs.Close()
	return rs.Err()
}
