package pgprobe_test

import (
	"strings"
	"testing"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

func TestDSNGivesEverythingButTheAddress(t *testing.T) {
	for _, tt := range []struct {
		reason, dsn string
		addr        router.Addr
		database    string
	}{
		{"URL", "postgres://mon:pw@old:1/db", router.Addr{Host: "new", Port: 2}, "db"},
		{"URL with parameters", "postgresql://mon:pw@old:1/db?sslmode=disable", router.Addr{Host: "new", Port: 2}, "db"},
		{"URL with several hosts", "postgres://mon:pw@h1:1,h2:2/db?target_session_attrs=primary", router.Addr{Host: "new", Port: 2}, "db"},
		{"URL that names its host twice", "postgres://mon:pw@h1:1/db?host=h2&port=9", router.Addr{Host: "new", Port: 2}, "db"},
		{"URL without a host", "postgres://mon:pw@/db", router.Addr{Host: "new", Port: 2}, "db"},
		{"URL and a socket", "postgres://mon:pw@old/db", router.Addr{Host: "/var/run/postgresql", Port: 2}, "db"},
		{"URL and IPv6", "postgres://mon:pw@[::1]:5/db", router.Addr{Host: "fe80::1", Port: 2}, "db"},
		{"URL and a hostile host", "postgres://mon:pw@old/db", router.Addr{Host: "h&user=evil", Port: 2}, "db"},
		{"keywords", "user=mon password=pw dbname=db host=old port=1", router.Addr{Host: "new", Port: 2}, "db"},
		{"keywords with hosts", "user=mon password=pw dbname=db host=h1,h2,h3 port=1,2,3", router.Addr{Host: "new", Port: 2}, "db"},
		{"keywords and a socket", "user=mon password=pw dbname=db", router.Addr{Host: "/tmp/my socket's", Port: 2}, "db"},
		{"keywords and a hostile host", "user=mon password=pw dbname=db", router.Addr{Host: `h' user='evil\`, Port: 2}, "db"},
		{"keywords and trailing space", "user=mon password=pw dbname=db  ", router.Addr{Host: "new", Port: 2}, "db"},
		{"another database", "user=mon password=pw dbname=db", router.Addr{Host: "new", Port: 2}, "other"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			want := ""
			if tt.database != "db" {
				want = tt.database
			}
			cfg, err := pgprobe.ConnConfig(tt.dsn, tt.addr, want)
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Host != tt.addr.Host || int(cfg.Port) != tt.addr.Port {
				t.Errorf("address is %q, %d", cfg.Host, cfg.Port)
			}
			for _, f := range cfg.Fallbacks {
				if f.Host != tt.addr.Host || int(f.Port) != tt.addr.Port {
					t.Errorf("there is a way to another address, %q, %d", f.Host, f.Port)
				}
			}
			if cfg.User != "mon" || cfg.Password != "pw" || cfg.Database != tt.database {
				t.Errorf("user %q, password %q, database %q", cfg.User, cfg.Password, cfg.Database)
			}
			if cfg.ValidateConnect != nil {
				t.Error("the connection depends on the server's role")
			}
			if cfg.RuntimeParams["application_name"] != "pgroute" {
				t.Errorf("application_name is %q", cfg.RuntimeParams["application_name"])
			}
		})
	}
}

func TestVerifyFullChecksTheNodesHost(t *testing.T) {
	cfg, err := pgprobe.ConnConfig("postgres://mon@old/db?sslmode=verify-full", router.Addr{Host: "new", Port: 2}, "")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.TLSConfig == nil || cfg.TLSConfig.ServerName != "new" || cfg.TLSConfig.InsecureSkipVerify || len(cfg.Fallbacks) != 0 {
		t.Fatalf("TLS configuration is %+v with %d fallbacks", cfg.TLSConfig, len(cfg.Fallbacks))
	}
}

func TestBadAddressesAndDSNsAreRefused(t *testing.T) {
	for _, addr := range []router.Addr{
		{Port: 1}, {Host: "h"}, {Host: "h", Port: 65536}, {Host: "h", Port: -1}, {Host: "a,b", Port: 1}, {Host: "a\x00b", Port: 1},
	} {
		if _, err := pgprobe.ConnConfig("user=mon dbname=db", addr, ""); err == nil {
			t.Errorf("%+v is accepted", addr)
		}
	}
	for _, dsn := range []string{"", "nonsense", "postgres://u:hunter2@h/db?sslmode=maybe", "user=x password=hunter2 sslmode=maybe"} {
		_, err := pgprobe.New(pgprobe.Config{DSN: dsn})
		if err == nil {
			t.Errorf("DSN %q is accepted", dsn)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("h", 5432)
	f.Add("/tmp/a b", 1)
	f.Add(`x' port='1`, 2)
	f.Add("%41&host=b", 3)
	f.Fuzz(func(t *testing.T, host string, port int) {
		for _, dsn := range []string{"user=mon password=pw dbname=db", "postgres://mon:pw@old/db?sslmode=prefer"} {
			cfg, err := pgprobe.ConnConfig(dsn, router.Addr{Host: host, Port: port}, "")
			if err != nil {
				continue
			}
			if int(cfg.Port) != port || cfg.User != "mon" || cfg.Database != "db" || cfg.Password != "pw" {
				t.Fatalf("host %q made it %q, %d, user %q", host, cfg.Host, cfg.Port, cfg.User)
			}
			if cfg.Host != host && strings.TrimSpace(cfg.Host) != strings.TrimSpace(host) {
				t.Fatalf("host %q became %q", host, cfg.Host)
			}
		}
	})
}

func TestTimelineOfAWALFile(t *testing.T) {
	for name, want := range map[string]uint32{
		"000000010000000000000003": 1,
		"0000000A00000000000000FF": 10,
		"FFFFFFFF0000000000000001": 1<<32 - 1,
		"000000000000000000000001": 0,
		"00000001":                 0,
		"":                         0,
		"0000000x0000000000000003": 0,
	} {
		got, err := pgprobe.WALFileTimeline(name)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("%q is of timeline %d (%v), want %d", name, got, err, want)
		}
	}
}
