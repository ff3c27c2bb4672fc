package lab

import "github.com/pgroute/pgroute/internal/cluster"

// ForTest starts a lab for a test, which fails if it cannot. The lab is closed
// when the test ends; if the test failed, the ends of all logs are shown first.
func ForTest(t cluster.TB, opts Options) *Lab {
	t.Helper()
	// A test that is cancelled still wants its lab closed, not half started.
	l, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			l.ShowLogs(t.Logf)
		}
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return l
}

// ShowLogs prints the ends of all logs.
func (l *Lab) ShowLogs(printf func(format string, args ...any)) {
	const size = 3 << 10
	for _, p := range l.Processes() {
		printf("the end of what %s printed:\n%s", p.Name, p.LogTail(size))
	}
	for _, n := range l.Cluster.Nodes() {
		printf("the end of the log of %s:\n%s", n.Name, n.LogTail(size))
	}
}
