package pgxdb

import (
	"database/sql/driver"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// sqlFormats asks for the binary format of the types that database/sql knows,
// and for text of all others, as pgx's own database/sql driver does.
var sqlFormats = pgx.QueryResultFormatsByOID{
	pgtype.BoolOID:        pgtype.BinaryFormatCode,
	pgtype.ByteaOID:       pgtype.BinaryFormatCode,
	pgtype.CIDOID:         pgtype.BinaryFormatCode,
	pgtype.DateOID:        pgtype.BinaryFormatCode,
	pgtype.Float4OID:      pgtype.BinaryFormatCode,
	pgtype.Float8OID:      pgtype.BinaryFormatCode,
	pgtype.Int2OID:        pgtype.BinaryFormatCode,
	pgtype.Int4OID:        pgtype.BinaryFormatCode,
	pgtype.Int8OID:        pgtype.BinaryFormatCode,
	pgtype.OIDOID:         pgtype.BinaryFormatCode,
	pgtype.TimestampOID:   pgtype.BinaryFormatCode,
	pgtype.TimestamptzOID: pgtype.BinaryFormatCode,
	pgtype.XIDOID:         pgtype.BinaryFormatCode,
}

// sqlRows makes rows of database/sql of rows of this package. The values are
// those of pgx's own database/sql driver; a test compares them type by type.
type sqlRows struct {
	rows  *rows
	types *pgtype.Map
	// names and fields are our own, as pgx uses its memory again.
	names  []string
	fields []pgconn.FieldDescription
	// values is nil until the first row.
	values []func(src []byte) (driver.Value, error)
	// settled is called when the end is known, and before anybody else knows;
	// it may be nil.
	settled func()
}

// newSQLRows takes the first row ahead, without which nobody knows the columns.
// It owns r, and has closed it when it returns an error. The connection is held
// also when there is no row at all, until Next or Close: what it knows about
// types belongs to whoever holds it.
func newSQLRows(r *rows, settled func()) (*sqlRows, error) {
	if r.Rows == nil {
		return nil, r.err
	}
	s := &sqlRows{rows: r, settled: settled}
	if !r.ahead {
		r.ahead = r.Rows.Next()
	}
	if r.Rows.Err() != nil {
		r.ahead = false
		return nil, s.Close()
	}
	s.types, s.fields = r.TypeMap(), slices.Clone(r.FieldDescriptions())
	s.names = make([]string, len(s.fields))
	for i := range s.fields {
		s.names[i] = s.fields[i].Name
	}
	return s, nil
}

// Columns implements driver.Rows.
func (r *sqlRows) Columns() []string { return r.names }

// Close implements driver.Rows. The connection is given back, and the session
// knows what the rows have written or seen, before it returns.
func (r *sqlRows) Close() error {
	r.rows.Close()
	if r.settled != nil {
		r.settled()
		r.settled = nil
	}
	return r.rows.Err()
}

// Next implements driver.Rows.
func (r *sqlRows) Next(dest []driver.Value) error {
	if !r.rows.Next() {
		// The session knows it all before the caller can see the end (I1).
		if err := r.Close(); err != nil {
			return err
		}
		return io.EOF
	}
	if r.values == nil {
		r.values = make([]func([]byte) (driver.Value, error), len(r.fields))
		for i := range r.fields {
			r.values[i] = sqlValue(r.types, r.fields[i].DataTypeOID, r.fields[i].Format)
		}
	}
	for i, src := range r.rows.RawValues() {
		dest[i] = nil
		if src == nil {
			continue
		}
		v, err := r.values[i](src)
		if err != nil {
			return fmt.Errorf("convert column %q: %w", r.names[i], err)
		}
		dest[i] = v
	}
	return nil
}

// sqlValue returns the function that makes a value of database/sql of one
// column. What it returns does not share memory with what it is given.
func sqlValue(m *pgtype.Map, oid uint32, format int16) func(src []byte) (driver.Value, error) {
	switch oid {
	case pgtype.BoolOID:
		return scanned(m, oid, format, plain[bool])
	case pgtype.ByteaOID, pgtype.JSONOID, pgtype.JSONBOID, pgtype.XMLOID:
		return scanned(m, oid, format, plain[[]byte])
	case pgtype.CIDOID, pgtype.OIDOID, pgtype.XIDOID:
		return scanned(m, oid, format, pgtype.Uint32.Value)
	case pgtype.DateOID:
		return scanned(m, oid, format, pgtype.Date.Value)
	case pgtype.TimestampOID:
		return scanned(m, oid, format, pgtype.Timestamp.Value)
	case pgtype.TimestamptzOID:
		return scanned(m, oid, format, pgtype.Timestamptz.Value)
	case pgtype.Float4OID:
		return scanned(m, oid, format, func(f float32) (driver.Value, error) { return float64(f), nil })
	case pgtype.Float8OID:
		return scanned(m, oid, format, plain[float64])
	case pgtype.Int2OID:
		return scanned(m, oid, format, func(i int16) (driver.Value, error) { return int64(i), nil })
	case pgtype.Int4OID:
		return scanned(m, oid, format, func(i int32) (driver.Value, error) { return int64(i), nil })
	case pgtype.Int8OID:
		return scanned(m, oid, format, plain[int64])
	default:
		return scanned(m, oid, format, plain[string])
	}
}

// scanned scans a column into a T and converts that.
func scanned[T any](m *pgtype.Map, oid uint32, format int16, value func(T) (driver.Value, error)) func([]byte) (driver.Value, error) {
	var d T
	plan := m.PlanScan(oid, format, &d)
	return func(src []byte) (driver.Value, error) {
		if err := plan.Scan(src, &d); err != nil {
			return nil, err
		}
		return value(d)
	}
}

func plain[T any](v T) (driver.Value, error) { return v, nil }

// ColumnTypeDatabaseTypeName implements
// driver.RowsColumnTypeDatabaseTypeName: the type's name, or its OID if pgx
// does not know it.
func (r *sqlRows) ColumnTypeDatabaseTypeName(i int) string {
	oid := r.fields[i].DataTypeOID
	if t, ok := r.types.TypeForOID(oid); ok {
		return strings.ToUpper(t.Name)
	}
	return strconv.FormatUint(uint64(oid), 10)
}

// typmodHeader is what a type modifier of a length or precision is larger by
// (VARHDRSZ).
const typmodHeader = 4

// ColumnTypeLength implements driver.RowsColumnTypeLength.
func (r *sqlRows) ColumnTypeLength(i int) (int64, bool) {
	switch f := &r.fields[i]; f.DataTypeOID {
	case pgtype.TextOID, pgtype.ByteaOID:
		return math.MaxInt64, true
	case pgtype.VarcharOID, pgtype.BPCharOID:
		return int64(f.TypeModifier - typmodHeader), true
	case pgtype.VarbitOID:
		return int64(f.TypeModifier), true
	}
	return 0, false
}

// ColumnTypePrecisionScale implements driver.RowsColumnTypePrecisionScale.
func (r *sqlRows) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	f := &r.fields[i]
	if f.DataTypeOID != pgtype.NumericOID {
		return 0, 0, false
	}
	mod := f.TypeModifier - typmodHeader
	return int64(mod >> 16 & 0xffff), int64(mod & 0xffff), true
}

// ColumnTypeScanType implements driver.RowsColumnTypeScanType.
func (r *sqlRows) ColumnTypeScanType(i int) reflect.Type {
	switch r.fields[i].DataTypeOID {
	case pgtype.Float8OID, pgtype.NumericOID:
		return reflect.TypeFor[float64]()
	case pgtype.Float4OID:
		return reflect.TypeFor[float32]()
	case pgtype.Int8OID:
		return reflect.TypeFor[int64]()
	case pgtype.Int4OID:
		return reflect.TypeFor[int32]()
	case pgtype.Int2OID:
		return reflect.TypeFor[int16]()
	case pgtype.BoolOID:
		return reflect.TypeFor[bool]()
	case pgtype.DateOID, pgtype.TimestampOID, pgtype.TimestamptzOID:
		return reflect.TypeFor[time.Time]()
	case pgtype.ByteaOID:
		return reflect.TypeFor[[]byte]()
	}
	return reflect.TypeFor[string]()
}
