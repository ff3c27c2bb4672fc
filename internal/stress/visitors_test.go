package stress_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/booklab/api"
	"github.com/pgroute/pgroute/internal/cluster"
)

// theatre is the booking example in two instances over one proxy.
type theatre struct {
	urls   []string
	client *api.Client
	slots  []api.Slot
	rooms  []api.Room
	seats  []api.Seat
}

// openTheatre builds and starts it; it ends with the test.
func openTheatre(t *testing.T, s *sidecar, zk *cluster.ZooKeeper) *theatre {
	t.Helper()
	program := filepath.Join(t.TempDir(), "booking")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../examples/booking").CombinedOutput(); err != nil {
		t.Fatalf("build the example: %v: %s", err, out)
	}
	dsn := fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", cluster.AppUser, cluster.AppPassword, s.addr, cluster.AppDatabase)
	if out, err := exec.CommandContext(t.Context(), program, "init", "--dsn", dsn, "--rows", "20", "--columns", "20", "--slots", "500").CombinedOutput(); err != nil {
		t.Fatalf("booking init: %v: %s", err, out)
	}
	th := &theatre{client: &api.Client{HTTP: &http.Client{Timeout: patience}}}
	for _, name := range []string{"booking-1", "booking-2"} {
		th.urls = append(th.urls, th.serve(t, program, "serve", "--listen", freeAddr(t), "--name", name, "--dsn", dsn, "--zookeeper", zk.Addr()))
	}
	program1, err := th.client.Slots(t.Context(), th.urls[0])
	if err != nil {
		t.Fatal(err)
	}
	th.slots, th.rooms = program1.Slots, program1.Rooms
	seats, err := th.client.Seats(t.Context(), th.urls[0], th.slots[0].ID, th.rooms[0].ID, api.How{})
	if err != nil {
		t.Fatal(err)
	}
	th.seats = seats.Seats
	return th
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve starts one instance and returns where it serves.
func (th *theatre) serve(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()                          // its error is of no interest now
	})
	const ready = "booking: ready on "
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if addr, ok := strings.CutPrefix(lines.Text(), ready); ok {
			go func() { // ends with the process
				for lines.Scan() {
				}
			}()
			return "http://" + addr
		}
	}
	t.Fatalf("an instance ended: %v", lines.Err())
	return ""
}

// visitor books one seat after the other at one instance, and looks at it at the
// other with the token.
type visitor struct {
	id     int
	th     *theatre
	pauses *pauses
	booked int
	errors []error
}

func (v *visitor) drive(ctx context.Context) {
	for n := v.id; ctx.Err() == nil; n += visitors {
		if err := v.visit(ctx, n); err != nil && ctx.Err() == nil {
			v.errors = append(v.errors, err)
		}
		rest(ctx, max(5*time.Millisecond, *easeFlag))
	}
}

// visit books the n-th seat of all.
func (v *visitor) visit(ctx context.Context, n int) error {
	seat, slot := v.th.seats[n%len(v.th.seats)], v.th.slots[n/len(v.th.seats)%len(v.th.slots)]
	who := fmt.Sprintf("visitor-%d-%d", v.id, n)
	here, there := v.th.urls[n%2], v.th.urls[1-n%2]
	began := time.Now()
	booked, err := v.th.client.Book(ctx, here, who, api.Wish{Slot: slot.ID, Seat: seat.ID, Customer: who})
	v.pauses.add("booking", began, time.Now())
	if err != nil {
		return fmt.Errorf("book: %w", err)
	}
	v.booked++
	began = time.Now()
	seats, err := v.th.client.Seats(ctx, there, slot.ID, v.th.rooms[0].ID, api.How{Token: booked.Token})
	v.pauses.add("look", began, time.Now())
	if err != nil {
		return fmt.Errorf("look: %w", err)
	}
	if s := seats.Find(seat.ID); s == nil || s.BookedBy != who {
		return fmt.Errorf("%s booked seat %d of slot %d, and sees %+v at another instance", who, seat.ID, slot.ID, s)
	}
	return nil
}
