package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// mark is what the comment of a schema that Run made begins with.
const mark = "made by pgroute verify"

// tables are those of the schema, which stands for %[1]s.
const tables = `CREATE TABLE %[1]s.register (k text PRIMARY KEY, n integer NOT NULL, v text NOT NULL);
CREATE TABLE %[1]s.register_log (k text NOT NULL, n integer NOT NULL, v text NOT NULL);
CREATE TABLE %[1]s.list (k text PRIMARY KEY, v text[] NOT NULL);
CREATE TABLE %[1]s.account (id integer PRIMARY KEY, n integer NOT NULL, balance bigint NOT NULL);
CREATE TABLE %[1]s.ledger (id text NOT NULL, src integer NOT NULL, src_n integer NOT NULL, dst integer NOT NULL, dst_n integer NOT NULL, amount bigint NOT NULL);
CREATE TABLE %[1]s.seat (k text PRIMARY KEY, customer text NOT NULL);
INSERT INTO %[1]s.account SELECT i, 0, %[2]d FROM pg_catalog.generate_series(0, %[3]d) AS g (i);`

// setUp makes the schema through the first target that takes writes.
func (r *run) setUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Patience)
	defer cancel()
	return r.anyTarget(ctx, "set up the schema "+r.opts.Schema, func(conn *pgx.Conn) error {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback(ctx) //nolint:errcheck // after a commit it does nothing
		if err := clear(ctx, tx, r.opts.Schema); err != nil {
			return err
		}
		comment := fmt.Sprintf("%s, in use until %s", mark, time.Now().UTC().Add(r.inUse()).Format(time.RFC3339))
		sql := fmt.Sprintf("CREATE SCHEMA %[1]s; COMMENT ON SCHEMA %[1]s IS '%[2]s';\n", r.schema, comment) +
			fmt.Sprintf(tables, r.schema, int64(startBalance), accounts-1)
		if _, err := tx.Conn().PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			return err
		}
		return tx.Commit(ctx)
	})
}

// inUse is for how long nobody else may take the schema for a left-over.
func (r *run) inUse() time.Duration {
	if r.opts.For == 0 {
		return time.Hour
	}
	return r.opts.For + r.opts.Patience
}

// notOurs is an error that another target would answer alike.
type notOurs struct{ error }

// clear drops what an earlier run left, and refuses anything else.
func clear(ctx context.Context, tx pgx.Tx, schema string) error {
	var comment string
	err := tx.QueryRow(ctx, "SELECT coalesce(pg_catalog.obj_description(oid, 'pg_namespace'), '') FROM pg_catalog.pg_namespace WHERE nspname = $1", schema).Scan(&comment)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	case !strings.HasPrefix(comment, mark):
		return notOurs{fmt.Errorf("the schema %s exists and was not made by pgroute verify; name another one", schema)}
	}
	if _, until, ok := strings.Cut(comment, "in use until "); ok {
		if t, err := time.Parse(time.RFC3339, until); err == nil && time.Now().Before(t) {
			return notOurs{fmt.Errorf("the schema %s is in use by another run until %s; name another one, or drop it if that run was killed", schema, until)}
		}
	}
	_, err = tx.Exec(ctx, "DROP SCHEMA "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
	return err
}

// tearDown drops the schema.
func (r *run) tearDown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Patience)
	defer cancel()
	return r.anyTarget(ctx, "drop the schema "+r.opts.Schema, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+r.schema+" CASCADE")
		return err
	})
}

// hopeless reports whether an error is one that time does not mend: of who may
// not enter, or may not do it.
func hopeless(err error) bool {
	switch codeOf(err) {
	case sqlstate.InvalidAuthorization, sqlstate.InvalidPassword, sqlstate.InvalidCatalogName, sqlstate.InsufficientPrivilege:
		return true
	}
	return false
}

// anyTarget does something through one target after the other until it works.
func (r *run) anyTarget(ctx context.Context, what string, do func(*pgx.Conn) error) error {
	for said := false; ; said = true {
		var all error
		hope := false
		for _, t := range r.targets {
			err := t.with(ctx, do)
			if err == nil {
				return nil
			}
			var no notOurs
			if errors.As(err, &no) {
				return no.error
			}
			all = errors.Join(all, fmt.Errorf("%s: %w", t.Name, err))
			hope = hope || !hopeless(err)
		}
		if hope && !said {
			r.opts.Logf("%s: it is tried for up to %v: %v", what, r.opts.Patience, all)
		}
		if !hope || !rest(ctx, 200*time.Millisecond) {
			return fmt.Errorf("%s: %w", what, all)
		}
	}
}
