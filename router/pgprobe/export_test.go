package pgprobe

import (
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/router"
)

// ConnConfig is what a connection to addr would be made with.
func ConnConfig(dsn string, addr router.Addr, database string) (*pgconn.Config, error) {
	c := Config{DSN: dsn}
	if _, err := c.validate(); err != nil {
		return nil, err
	}
	return c.connConfig(addr, database)
}

// WALFileTimeline is walFileTimeline.
func WALFileTimeline(name string) (uint32, error) { return walFileTimeline(name) }
