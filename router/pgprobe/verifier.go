package pgprobe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/router"
)

// ErrNoVerifierAccess is wrapped by Verifier's error when the monitor's role
// has no way to read verifiers.
var ErrNoVerifierAccess = errors.New("the monitor's role may not read password verifiers:" +
	" it needs EXECUTE on pgroute.verifier(text) and USAGE on its schema, or SELECT on pg_catalog.pg_authid")

// verifierWaysSQL asks which ways to the verifiers the role has.
const verifierWaysSQL = `SELECT
 EXISTS (SELECT FROM pg_catalog.pg_proc AS f
  JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
  WHERE n.nspname = 'pgroute' AND f.proname = 'verifier' AND f.pronargs = 1
   AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
   AND pg_catalog.has_function_privilege(f.oid, 'EXECUTE')),
 pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')`

const (
	verifierByFunction = `SELECT pgroute.verifier($1)`
	verifierByTable    = `SELECT a.rolpassword FROM pg_catalog.pg_authid AS a` +
		` WHERE a.rolname = $1 AND a.rolcanlogin` +
		` AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil > pg_catalog.now())`
)

// Verifier looks up the password verifier of a role on the server at addr,
// which is SCRAM-SHA-256$… or a hash of another method, as pg_authid holds it.
// found is false when there is no such role, it may not log in, it has no
// password, or the password has expired; pgroute.verifier judges that by
// itself. Callers for one server take turns on one connection, that of
// Query for the monitor's database.
func (p *Prober) Verifier(ctx context.Context, addr router.Addr, user string) (secret string, found bool, err error) {
	if !utf8.ValidString(user) || strings.ContainsRune(user, 0) {
		// No such text reaches the server, and none of its roles is named so.
		return "", false, nil
	}
	err = p.use(ctx, addr, p.database, func(ctx context.Context, s *session) error {
		known := s.verifier != ""
		secret, found, err = s.lookUp(ctx, user)
		if err != nil && known && isStatementError(err) {
			// The function or a privilege has changed since the way was found.
			s.verifier = ""
			secret, found, err = s.lookUp(ctx, user)
		}
		return err
	})
	if err != nil {
		return "", false, fmt.Errorf("look up the verifier of %q on %s: %w", user, addr.Name, err)
	}
	return secret, found, nil
}

// lookUp asks for a verifier, and first for the way to it if none is known.
func (s *session) lookUp(ctx context.Context, user string) (secret string, found bool, err error) {
	if s.verifier == "" {
		if s.verifier, err = verifierWay(ctx, s.conn); err != nil {
			return "", false, err
		}
	}
	r := s.conn.ExecParams(ctx, s.verifier, [][]byte{[]byte(user)}, nil, nil, nil).Read()
	if r.Err != nil {
		return "", false, r.Err
	}
	if len(r.Rows) == 0 || len(r.Rows[0]) != 1 || len(r.Rows[0][0]) == 0 {
		return "", false, nil
	}
	return string(r.Rows[0][0]), true, nil
}

// verifierWay returns the statement that the role can look verifiers up with.
func verifierWay(ctx context.Context, conn *pgconn.PgConn) (string, error) {
	results, err := conn.Exec(ctx, verifierWaysSQL).ReadAll()
	if err != nil {
		return "", err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return "", errors.New("unexpected shape of the server's answer")
	}
	f := fields{rows: [][]*string{textRow(results[0].Rows[0])}}
	byFunction, byTable := f.bool(0, 0), f.bool(0, 1)
	switch {
	case f.err != nil:
		return "", f.err
	case byFunction:
		return verifierByFunction, nil
	case byTable:
		return verifierByTable, nil
	default:
		return "", ErrNoVerifierAccess
	}
}
