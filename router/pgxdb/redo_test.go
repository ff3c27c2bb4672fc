package pgxdb_test

import (
	"errors"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/router/pgxdb"
)

func TestRedoKind(t *testing.T) {
	server := func(code, message string) error { return &pgconn.PgError{Code: code, Message: message} }
	for _, x := range []struct {
		err    error
		broken bool
		want   string
	}{
		{server("40001", "conflict with recovery"), false, "elsewhere"},
		{server("57P01", ""), true, "elsewhere"},
		{server("53300", ""), true, "elsewhere"},
		{io.ErrUnexpectedEOF, true, "elsewhere"},
		{errors.New("cannot encode the argument"), false, "never"},
		{server("42P01", ""), false, "primary"},
		{server("42883", ""), false, "primary"},
		{server("25006", ""), false, "misjudged"},
		{server("55000", ""), false, "misjudged"},
		{server("XX000", "cannot do it during recovery"), false, "misjudged"},
		{server("XX000", "something else"), false, "never"},
		{server("22012", ""), false, "never"},
		{server("57014", ""), false, "never"},
		{&pgconn.PgError{Code: "0A000", Routine: "RevalidateCachedQuery"}, false, "here"},
	} {
		if got := pgxdb.RedoKind(x.err, x.broken); got != x.want {
			t.Errorf("%v: %s, not %s", x.err, got, x.want)
		}
	}
}

// TestStalePlanIsInvisible changes the type of a result that a connection has
// a prepared statement for.
func TestStalePlanIsInvisible(t *testing.T) {
	c := common(t)
	table := tableOf(t, c, "a int")
	db := open(t, c, patient, func(cfg *pgxdb.Config) { cfg.DSN += "&pool_max_conns=1" })
	ctx := patience(t)
	for _, column := range []string{"b", "c"} {
		for range 4 { // until both replicas have the statement
			rows, err := db.Read().Query(ctx, "select * from "+table)
			must(t, err)
			rows.Close()
		}
		write(t, db, ctx, "alter table "+table+" add "+column+" text")
	}
	rows, err := db.Read().Query(ctx, "select * from "+table)
	must(t, err)
	if n := len(rows.FieldDescriptions()); n != 3 {
		t.Errorf("%d columns", n)
	}
	rows.Close()
}
