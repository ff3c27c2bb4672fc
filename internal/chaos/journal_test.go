package chaos_test

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pgroute/pgroute/internal/verify"
)

// event is a fault or a note, with its beginning and its end since the journal
// began.
type event struct {
	Kind   string        `json:"kind"`
	Target string        `json:"target"`
	Begin  time.Duration `json:"begin"`
	End    time.Duration `json:"end"`
	Err    string        `json:"error,omitempty"`
}

// sample is what a server said of itself at a time.
type sample struct {
	At       time.Duration `json:"at"`
	Node     string        `json:"node"`
	Role     string        `json:"role"` // primary, replica, or empty: no answer
	Timeline uint32        `json:"timeline,omitempty"`
	LSN      uint64        `json:"lsn,omitempty"` // inserted, or replayed
	Lag      int64         `json:"lag"`           // in bytes behind the primary; -1: not known
}

// bucket is what the clients saw within a piece of the run.
type bucket struct {
	// Routes counts reads by "NODE ROLE", Writes those acknowledged by proxy.
	Routes map[string]int `json:"routes,omitempty"`
	Writes map[string]int `json:"writes,omitempty"`
	// Errors counts operations that failed or have no outcome, by SQLSTATE.
	Errors      map[string]int `json:"errors,omitempty"`
	ReadP50     float64        `json:"read_p50_ms"`
	ReadP99     float64        `json:"read_p99_ms"`
	WriteP50    float64        `json:"write_p50_ms"`
	WriteP99    float64        `json:"write_p99_ms"`
	Max         float64        `json:"max_ms"`
	OK          int            `json:"ok"`
	readTimes   []float64      // in milliseconds
	writesTimes []float64
}

// clientState is when a client began what was last answered. A reader writes
// nothing.
type clientState struct {
	read, write time.Duration
	reader      bool
}

// journal is what happened in a run.
type journal struct {
	began time.Time
	width time.Duration // of a bucket

	mu      sync.Mutex // guards the fields below
	events  []*event
	samples []sample
	buckets []*bucket
	clients map[int]clientState
	origin  time.Duration // when the run of package verify began; -1: not known
}

func newJournal(length time.Duration) *journal {
	return &journal{began: time.Now(), width: max(500*time.Millisecond, (length / 400).Truncate(500*time.Millisecond)),
		clients: map[int]clientState{}, origin: -1}
}

func (j *journal) now() time.Duration { return time.Since(j.began) }

// open notes that a fault begins; close that it has ended.
func (j *journal) open(kind, target string) *event {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := &event{Kind: kind, Target: target, Begin: j.now(), End: -1}
	j.events = append(j.events, e)
	return e
}

func (j *journal) close(e *event, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.End = j.now()
	if err != nil {
		e.Err = err.Error()
	}
}

// observe takes an operation of package verify.
func (j *journal) observe(op verify.Op) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.now()
	if origin := now - op.End; j.origin < 0 || origin < j.origin {
		j.origin = max(origin, 0)
	}
	b := j.bucketLocked(now)
	if op.Outcome != verify.OK {
		code := op.SQLState
		if code == "" {
			code = "lost"
		}
		count(&b.Errors, code)
		return
	}
	ms := float64(op.End-op.Start) / float64(time.Millisecond)
	b.Max = max(b.Max, ms)
	b.OK++
	state := j.clients[op.Client]
	switch op.Kind {
	case verify.KindRead:
		b.readTimes = append(b.readTimes, ms)
		state.read, state.reader = op.Start, op.Reader
	case verify.KindWrite, verify.KindCAS, verify.KindAppend, verify.KindTransfer, verify.KindBook:
		b.writesTimes = append(b.writesTimes, ms)
		state.write = op.Start
	default:
		return
	}
	j.clients[op.Client] = state
	if op.Kind == verify.KindRead {
		count(&b.Routes, op.Node+" "+op.Role)
	} else {
		count(&b.Writes, op.Target)
	}
}

func count(m *map[string]int, key string) {
	if *m == nil {
		*m = map[string]int{}
	}
	(*m)[key]++
}

// bucketLocked is the one that is filled now. Those before are summed up, so
// that a long run stays small.
func (j *journal) bucketLocked(now time.Duration) *bucket {
	n := int(now / j.width)
	for len(j.buckets) <= n {
		if len(j.buckets) > 1 {
			j.buckets[len(j.buckets)-2].sum()
		}
		j.buckets = append(j.buckets, &bucket{})
	}
	return j.buckets[n]
}

func (b *bucket) sum() {
	if len(b.readTimes) > 0 {
		b.ReadP50, b.ReadP99 = quantile(b.readTimes, 0.5), quantile(b.readTimes, 0.99)
	}
	if len(b.writesTimes) > 0 {
		b.WriteP50, b.WriteP99 = quantile(b.writesTimes, 0.5), quantile(b.writesTimes, 0.99)
	}
	b.readTimes, b.writesTimes = nil, nil
}

func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}

func (j *journal) sampled(s sample) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.samples = append(j.samples, s)
}

// silent says which of so many clients have not read and written since a time
// of the journal.
func (j *journal) silent(since time.Duration, clients int) (list []int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	since -= max(j.origin, 0)
	for c := range clients {
		if s := j.clients[c]; s.read < since || s.write < since && !s.reader {
			list = append(list, c)
		}
	}
	return list
}

// finish sums up what is left.
func (j *journal) finish() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, b := range j.buckets {
		if b.readTimes != nil || b.writesTimes != nil {
			b.sum()
		}
	}
}

// codes are the SQLSTATEs that came up, the most frequent first.
func (j *journal) codes() []string {
	sums := map[string]int{}
	for _, b := range j.buckets {
		for code, n := range b.Errors {
			sums[code] += n
		}
	}
	list := slices.Sorted(maps.Keys(sums))
	slices.SortStableFunc(list, func(a, b string) int { return sums[b] - sums[a] })
	return list
}
