package verify_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/internal/verify"
)

// Who may not enter, or may not make a schema, is told at once.
func TestHopelessIsNotTriedAgain(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: -1})
	for want, dsn := range map[string]string{
		"28P01": c.Primary().DSN(cluster.AppUser, "wrong", cluster.AppDatabase),
		"3D000": c.Primary().DSN(cluster.AppUser, cluster.AppPassword, "nowhere"),
		"42501": c.Primary().DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres"),
	} {
		_, err := verify.Run(t.Context(), verify.Options{Targets: []verify.Target{{Name: "p", DSN: dsn}}, MaxOps: 10, Patience: 24 * time.Hour,
			Logf: func(format string, args ...any) { t.Fatalf(format, args...) }})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A left-over of a run that was killed is replaced, what another run uses or
// somebody else made is refused, and the schema is dropped at the end.
func TestSchema(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: -1})
	o := verify.Options{Targets: []verify.Target{{Name: "p", DSN: c.Primary().DSN("postgres", "super-secret", cluster.AppDatabase)}}, MaxOps: 300}
	app, err := c.Primary().App(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, comment, want string
	}{
		{"nobody's", "", "was not made by pgroute verify"},
		{"somebody's", "mine", "was not made by pgroute verify"},
		{"in use", "made by pgroute verify, in use until " + time.Now().UTC().Add(time.Hour).Format(time.RFC3339), "is in use by another run"},
		{"left over", "made by pgroute verify, in use until " + time.Now().UTC().Add(-time.Hour).Format(time.RFC3339), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, sql := range []string{"DROP SCHEMA IF EXISTS pgroute_verify CASCADE", "CREATE SCHEMA pgroute_verify", "CREATE TABLE pgroute_verify.register (a int)",
				fmt.Sprintf("COMMENT ON SCHEMA pgroute_verify IS '%s'", test.comment)} {
				if _, err := app.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			_, err := verify.Run(t.Context(), o)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
			var left int
			if err := app.QueryRow(t.Context(), "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE nspname = 'pgroute_verify' AND relkind = 'r'").Scan(&left); err != nil {
				t.Fatal(err)
			}
			if want := len(test.want) > 0; want != (left == 1) {
				t.Errorf("%d tables are left", left)
			}
		})
	}
}
