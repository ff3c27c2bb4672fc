package lsn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pgroute/pgroute/lsn"
)

// After a write the primary's insert position is the floor of the session; a
// replica may serve it once it has replayed that far.
func Example() {
	history, err := lsn.NewHistory(7656871263498175281, nil, 1, 0, 1763816400123456)
	if err != nil {
		fmt.Println(err)
		return
	}
	insert, err := lsn.Parse("0/702C018") // pg_current_wal_insert_lsn()
	if err != nil {
		fmt.Println(err)
		return
	}
	floor := history.At(lsn.NormalizeInsert(insert, 8192))

	var replica lsn.Watermark
	replica.Advance(0x702BF00) // pg_last_wal_replay_lsn()
	fmt.Println(history.Covers(replica.Load(), floor))
	replica.Advance(0x702C000)
	fmt.Println(history.Covers(replica.Load(), floor))
	// Output:
	// no
	// yes
}

func ExampleParse() {
	l, err := lsn.Parse("16/0B374D848")
	fmt.Println(l, err)
	l, err = lsn.Parse("0/01000000")
	fmt.Println(l, err)
	// Output:
	// 0/0 malformed LSN: "16/0B374D848"
	// 0/1000000 <nil>
}

func ExampleLSN_MarshalText() {
	text, err := json.Marshal(map[string]lsn.LSN{"replay": 0x16B3748})
	fmt.Println(string(text), err)
	// Output: {"replay":"0/16B3748"} <nil>
}

func ExampleLSN_Scan() {
	var l lsn.LSN
	fmt.Println(l.Scan("0/16B3748"), l) // as database/sql does
	fmt.Println(l.Scan(nil))
	// Output:
	// <nil> 0/16B3748
	// scan NULL into an LSN: use a *lsn.LSN or a sql.Null[lsn.LSN] for what may be NULL
}

func ExampleNormalizeInsert() {
	fmt.Println(lsn.NormalizeInsert(0x702C018, 8192)) // behind the header of an empty page
	fmt.Println(lsn.NormalizeInsert(0x702C0A8, 8192))
	// Output:
	// 0/702C000
	// 0/702C0A8
}

func ExampleNewHistory() {
	past := []lsn.Switch{{Timeline: 1, End: 0x50008F0}}
	_, err := lsn.NewHistory(7656871263498175281, past, 2, 0x6000000, 1763816400123456)
	fmt.Println(err)
	// Output: history: timeline 2 begins at 0/6000000, but timeline 1 was left at 0/50008F0
}

func ExampleParseHistoryFile() {
	past, err := lsn.ParseHistoryFile("1\t0/50008F0\tno recovery target specified\n")
	fmt.Println(past[0].Timeline, past[0].End, err)
	// Output: 1 0/50008F0 <nil>
}

// The new primary left timeline 1 at 0/50008F0, before a write that the old one
// had acknowledged. A replica's number is beyond both, but the write is gone.
func ExampleHistory_Covers() {
	const systemID, old, now = 7656871263498175281, 1763816400123456, 1763820000123456
	past := []lsn.Switch{{Timeline: 1, End: 0x50008F0}}
	history, err := lsn.NewHistory(systemID, past, 2, 0x50008F0, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	replayed := lsn.LSN(0x5030B70)
	for _, written := range []lsn.LSN{0x50008F0, 0x5000A80} {
		floor := lsn.Position{SystemID: systemID, Timeline: 1, LSN: written, Incarnation: old}
		fmt.Println(written, history.Covers(replayed, floor))
	}
	// Output:
	// 0/50008F0 yes
	// 0/5000A80 lost
}

// The primary crashed after an asynchronous commit and came back on the same
// timeline, at 0/50434A0.
func ExampleHistory_WithRestart() {
	history, err := lsn.NewHistory(7656871263498175281, nil, 1, 0, 1763816400123456)
	if err != nil {
		fmt.Println(err)
		return
	}
	floor := history.At(0x5043A78)
	history, err = history.WithRestart(lsn.Restart{Incarnation: 1763820000123456, From: 0x50434A0})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(history.Covers(0x5044FC8, floor))
	// Output: lost
}

// Kept tells how far the floors of a session that wrote before a failover
// still stand for something.
func ExampleHistory_Kept() {
	past := []lsn.Switch{{Timeline: 1, End: 0x50008F0}}
	history, err := lsn.NewHistory(7656871263498175281, past, 2, 0x50008F0, 1763820000123456)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(history.Kept(lsn.Position{SystemID: 7656871263498175281, Timeline: 1, LSN: 0x5000A80}))
	// Output: 0/50008F0 true
}

func ExampleEncodeToken() {
	fmt.Println(lsn.EncodeToken(lsn.Position{
		SystemID: 7656871263498175281, Timeline: 2, Begin: 0x50008F0, LSN: 0x5030B70, Incarnation: 1763816400123456,
	}))
	// Output: pgr1_akKr2Ke0gzEAAAACAAAAAAUACPAAAAAABQMLcAAGRC6B-nZA
}

// A token in a header, without a string in between.
func ExampleAppendToken() {
	header := []byte("Pgroute-Token: ")
	header = lsn.AppendToken(header, lsn.Position{SystemID: 7, Timeline: 1, LSN: 0x5043A78, Incarnation: 1763816400123456})
	fmt.Println(len(header) == len("Pgroute-Token: ")+lsn.TokenLen)
	// Output: true
}

func ExampleParseToken() {
	_, err := lsn.ParseToken("pgr1_AAAA")
	fmt.Println(errors.Is(err, lsn.ErrToken), err)
	// Output: true malformed token: it has 9 bytes instead of 53
}

func ExamplePosition_SameIncarnation() {
	before := lsn.Position{SystemID: 7, Timeline: 1, LSN: 0x5043A78, Incarnation: 1763816400123456}
	after := lsn.Position{SystemID: 7, Timeline: 1, LSN: 0x5043A78, Incarnation: 1763820000123456}
	fmt.Println(before.SameHistory(after), before.SameIncarnation(after))
	// Output: true false
}

func ExampleWatermark_Wait() {
	var m lsn.Watermark
	go m.Advance(0x2000) // the monitor of a replica
	fmt.Println(m.Wait(context.Background(), 0x1000))

	m.Close(errors.New("replica is gone"))
	fmt.Println(m.Wait(context.Background(), 0x1000))
	// Output:
	// <nil>
	// wait for replay of 0/1000: replica is gone
}

// mailbox stands for an event loop, which must not block.
type mailbox struct{ posted []string }

func (b *mailbox) Wake(seq uint64, err error) {
	b.posted = append(b.posted, fmt.Sprintf("request %d: %v", seq, err))
}

func ExampleWatermark_Notify() {
	var m lsn.Watermark
	m.OnWait = func() { fmt.Println("ask the replica now") }
	b := new(mailbox)
	fmt.Println(m.Notify(0x2000, b, 1))
	fmt.Println(m.Notify(0x1000, b, 2))
	m.Advance(0x1800)
	m.Reset(errors.New("connection lost"))
	for _, message := range b.posted {
		fmt.Println(message)
	}
	// Output:
	// ask the replica now
	// true
	// ask the replica now
	// true
	// request 2: <nil>
	// request 1: connection lost
}

func ExampleWatermark_Cancel() {
	var m lsn.Watermark
	b := new(mailbox)
	m.Notify(0x2000, b, 1)
	fmt.Println(m.Cancel(b, 1)) // the request timed out
	m.Advance(0x2000)
	fmt.Println(len(b.posted))
	// Output:
	// true
	// 0
}
