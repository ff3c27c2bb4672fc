package connstring_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/connstring"
)

func TestWithAddress(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:p@old:1,older:2/db?sslmode=disable",
		"postgresql://u:p@/db",
		"host=old port=1 user=u password=p dbname=db sslmode=disable",
		"user=u password=p dbname=db",
	} {
		for _, host := range []string{"db1.example", "::1", "/var/run/it's a socket"} {
			got, err := connstring.WithAddress(dsn, host, 6543)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := pgx.ParseConfig(got)
			if err != nil {
				t.Errorf("%s: %v", got, err)
				continue
			}
			if cfg.Host != host || cfg.Port != 6543 || cfg.User != "u" || cfg.Password != "p" || cfg.Database != "db" {
				t.Errorf("%s: host %q port %d user %q password %q database %q", got, cfg.Host, cfg.Port, cfg.User, cfg.Password, cfg.Database)
			}
		}
	}
}

func TestWithAddressRefuses(t *testing.T) {
	for _, x := range []struct {
		host string
		port int
	}{{"", 5432}, {"a,b", 5432}, {"a\x00", 5432}, {"a", 0}, {"a", 65536}} {
		if got, err := connstring.WithAddress("user=u", x.host, x.port); err == nil {
			t.Errorf("%q port %d: %q", x.host, x.port, got)
		}
	}
}
