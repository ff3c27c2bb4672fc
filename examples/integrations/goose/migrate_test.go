package goose_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/examples/integrations/goose"
	"github.com/pgroute/pgroute/examples/integrations/internal/rig"
)

// TestMigrate: instances that start at once run each migration once, and what
// they find afterwards is the new schema, whatever the replicas have replayed.
func TestMigrate(t *testing.T) {
	rig.Run(t, func(t *testing.T, w *rig.Way) {
		w.Slow(t)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		var all sync.WaitGroup
		ran := make(chan int, 3)
		for range cap(ran) {
			db := w.SQL(t)
			all.Go(func() {
				n, err := goose.Migrate(ctx, db)
				if err != nil {
					t.Error(err)
				}
				ran <- n
				// At once, on whatever connection and server.
				if version, err := goose.Version(ctx, db); version != 3 || err != nil {
					t.Errorf("the schema's version is %d, %v", version, err)
				}
			})
		}
		all.Wait()
		close(ran)
		total := 0
		for n := range ran {
			total += n
		}
		if total != 3 {
			t.Errorf("%d migrations ran, not 3", total)
		}

		db := w.SQL(t)
		w.AwaitReplicas(ctx, t, func() error {
			return db.QueryRowContext(ctx, `SELECT count(*) FROM bookings`).Scan(new(int))
		})
		before := w.ReplicaReads()
		for i := range 5 {
			customer := fmt.Sprint("customer ", i)
			if _, err := db.ExecContext(ctx, `INSERT INTO bookings (customer) VALUES ($1)`, customer); err != nil {
				t.Fatal(err)
			}
			var n int
			if err := db.QueryRowContext(ctx, `SELECT count(*) FROM bookings WHERE customer = $1`, customer).Scan(&n); err != nil || n != 1 {
				t.Errorf("%s has %d bookings, %v", customer, n, err)
			}
		}
		if w.ReplicaReads() == before {
			t.Error("no read of the migrated table ran on a replica")
		}
	})
}
