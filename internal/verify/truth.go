package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// truth is what survived: the versions that each key went through on the
// primary's history, as it is after the run.
type truth struct {
	// versions are the values of each key; index 0 is version 1.
	versions map[string][]string
	// at is where each value stands; a transfer stands at two keys.
	at map[string][]Version
	// balances are those of each account after each version; index 0 is version 0.
	balances map[string][]int64
	// odd says what of the data makes no sense by itself.
	odd []Finding
}

func newTruth() *truth {
	return &truth{versions: map[string][]string{}, at: map[string][]Version{}, balances: map[string][]int64{}}
}

// has reports whether value survived.
func (t *truth) has(value string) bool { return len(t.at[value]) > 0 }

// version returns the value that a key had at version n.
func (t *truth) version(key string, n int) (string, bool) {
	list := t.versions[key]
	if n < 1 || n > len(list) {
		return "", false
	}
	return list[n-1], true
}

// put notes that key had value at version n.
func (t *truth) put(workload, key string, n int, value string) {
	list := t.versions[key]
	for len(list) < n {
		list = append(list, "")
	}
	v := Version{key, n, value}
	for _, other := range t.at[value] {
		if other.Key == key {
			t.odd = append(t.odd, Finding{Kind: OddValue, Workload: workload, Key: key, What: fmt.Sprintf("one write took effect twice: %s and %s", other, v)})
		}
	}
	if n < 1 {
		t.odd = append(t.odd, Finding{Kind: OddValue, Workload: workload, Key: key, What: fmt.Sprintf("%s is stored as version %d", value, n)})
		return
	}
	if list[n-1] != "" {
		t.odd = append(t.odd, Finding{Kind: LostUpdate, Workload: workload, Key: key, What: fmt.Sprintf("%s is stored for both %s and %s", Version{Key: key, N: n}, list[n-1], value)})
	}
	list[n-1] = value
	t.versions[key] = list
	t.at[value] = append(t.at[value], v)
}

// entry is a row of the ledger.
type entry struct {
	id                   string
	src, srcN, dst, dstN int
	amount               int64
}

// readBack reads all data on the primary, in one snapshot.
func (r *run) readBack(ctx context.Context) (*truth, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Patience)
	defer cancel()
	var t *truth
	err := r.anyTarget(ctx, "read back the data", func(conn *pgx.Conn) error {
		// Not read only: so a proxy has no choice but the primary.
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		if err != nil {
			return err
		}
		defer tx.Rollback(ctx) //nolint:errcheck // nothing was written
		var recovery bool
		if err := tx.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&recovery); err != nil {
			return err
		}
		if recovery {
			return errors.New("it is a replica")
		}
		t = newTruth()
		return r.readTables(ctx, tx, t)
	})
	return t, err
}

func (r *run) readTables(ctx context.Context, tx pgx.Tx, t *truth) error {
	var key, value string
	var n int
	err := each(ctx, tx, "SELECT k, n, v FROM "+r.schema+".register_log", []any{&key, &n, &value}, func() { t.put(Register, key, n, value) })
	if err != nil {
		return err
	}
	var list []string
	err = each(ctx, tx, "SELECT k, v FROM "+r.schema+".list", []any{&key, &list}, func() {
		for i, v := range list {
			t.put(Append, key, i+1, v)
		}
	})
	if err != nil {
		return err
	}
	if err := each(ctx, tx, "SELECT k, customer FROM "+r.schema+".seat", []any{&key, &value}, func() { t.put(Booking, key, 1, value) }); err != nil {
		return err
	}
	var ledger []entry
	var e entry
	err = each(ctx, tx, "SELECT id, src, src_n, dst, dst_n, amount FROM "+r.schema+".ledger",
		[]any{&e.id, &e.src, &e.srcN, &e.dst, &e.dstN, &e.amount}, func() { ledger = append(ledger, e) })
	if err != nil {
		return err
	}
	now := map[string]Version{}
	var balance int64
	var id int
	last := map[string]int64{}
	err = each(ctx, tx, "SELECT id, n, balance FROM "+r.schema+".account", []any{&id, &n, &balance}, func() {
		now[accountKey(id)], last[accountKey(id)] = Version{Key: accountKey(id), N: n}, balance
	})
	if err != nil {
		return err
	}
	t.settle(ledger, now, last)
	return nil
}

// each scans every row of a query into the same places.
func each(ctx context.Context, tx pgx.Tx, sql string, into []any, do func()) error {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, into, func() error {
		do()
		return nil
	})
	return err
}

// settle works out the balance that each account had at each version, and
// compares the last with what the accounts say.
func (t *truth) settle(ledger []entry, now map[string]Version, last map[string]int64) {
	change := map[Version]int64{}
	for _, e := range ledger {
		for _, half := range []struct {
			account, n int
			amount     int64
		}{{e.src, e.srcN, -e.amount}, {e.dst, e.dstN, e.amount}} {
			key := accountKey(half.account)
			t.put(Bank, key, half.n, e.id)
			change[Version{Key: key, N: half.n}] += half.amount
		}
	}
	for i := range accounts {
		key := accountKey(i)
		balance := int64(startBalance)
		t.balances[key] = append(t.balances[key], balance)
		for n := range t.versions[key] {
			balance += change[Version{Key: key, N: n + 1}]
			t.balances[key] = append(t.balances[key], balance)
		}
		if v, ok := now[key]; len(now) > 0 && (!ok || v.N != len(t.versions[key]) || last[key] != balance) {
			t.odd = append(t.odd, Finding{Kind: MoneyChanged, Workload: Bank, Key: key,
				What: fmt.Sprintf("at the end %s is at version %d with %d; the ledger makes it version %d with %d", key, v.N, last[key], len(t.versions[key]), balance)})
		}
	}
}
