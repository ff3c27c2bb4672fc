package languages_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// rounds is how many writes each program follows with a read.
const rounds = 20

// patience bounds a program's run; it is not a measure of anything.
const patience = 3 * time.Minute

// program is one of the small test programs.
type program struct {
	name string
	// ready returns the command that runs it, without the last arguments. It
	// fails the test if something is missing.
	ready func(t *testing.T) command
	// dsn makes a connection string as the driver reads it.
	dsn func(addr string) string
}

// command is a program with its first arguments and what it adds to the
// environment.
type command struct {
	argv []string
	env  string
}

var programs = []program{
	{"psycopg2", python("psycopg2"), postgresURL},
	{"psycopg", python("psycopg"), postgresURL},
	{"node", node, postgresURL},
	{"java", java, jdbcURL},
}

// python runs the program for one driver with Debian's Python, which has
// Debian's drivers.
func python(driver string) func(t *testing.T) command {
	return func(*testing.T) command {
		return command{[]string{"/usr/bin/python3", "-W", "error", "python/program.py", driver}, "PYTHONDONTWRITEBYTECODE=1"}
	}
}

// node runs its program with the packages that install.sh has installed.
func node(t *testing.T) command {
	modules, err := filepath.Abs("../../build/languages/node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	needFile(t, filepath.Join(modules, "pg", "package.json"))
	return command{[]string{"node", "node/program.js"}, "NODE_PATH=" + modules}
}

// java compiles its program with the driver of Debian's
// libpostgresql-jdbc-java.
func java(t *testing.T) command {
	const driver = "/usr/share/java/postgresql.jar"
	needFile(t, driver)
	classes := t.TempDir()
	compile := exec.CommandContext(t.Context(), "javac", "-Xlint:all", "-Werror", "-cp", driver, "-d", classes, "java/PgrouteToken.java", "java/Program.java")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("compile (scripts/setup.sh installs javac): %v\n%s", err, out)
	}
	return command{[]string{"java", "-cp", driver + ":" + classes, "Program"}, "LC_ALL=C.UTF-8"}
}

func needFile(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(name); err != nil {
		t.Fatalf("%v: run scripts/setup.sh", err)
	}
}

func postgresURL(addr string) string {
	u := url.URL{Scheme: "postgres", User: url.User(cluster.SuperUser), Host: addr, Path: "/" + cluster.AppDatabase, RawQuery: "sslmode=disable"}
	return u.String()
}

func jdbcURL(addr string) string {
	return "jdbc:postgresql://" + addr + "/" + cluster.AppDatabase + "?sslmode=disable&user=" + cluster.SuperUser
}

// TestTokenBetweenLanguages: a program writes through one sidecar and reads
// through another while no replica replays anything. With the token it is never
// stale. Without, it is, at session (the sidecars do not know of each other) as
// at eventual: so the token is what helps.
func TestTokenBetweenLanguages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster, and needs drivers that scripts/setup.sh installs")
	}
	c := cluster.Start(t, cluster.Options{Trust: true})
	first, second := sidecar(t, c), sidecar(t, c)
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			argv := p.ready(t)
			for _, run := range []struct {
				mode, level string
			}{
				{"token", "session"},
				{"none", "session"},
				{"none", "eventual"},
			} {
				t.Run(run.mode+" at "+run.level, func(t *testing.T) {
					table := "tokens_" + p.name
					play(t, c, argv, table, run.mode, run.level, p.dsn(first), p.dsn(second))
				})
			}
		})
	}
}

// play runs a program once. Replay stops after the program has connected: a
// client that connects starts from now, and that the replicas still cover.
func play(t *testing.T, c *cluster.Cluster, p command, table, mode, level, writer, reader string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Primary().Exec(ctx, "DROP TABLE IF EXISTS "+table, "CREATE TABLE "+table+" (n int)"); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	argv := append(slices.Clone(p.argv), mode, level, strconv.Itoa(rounds), table, writer, reader)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), p.env)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run scripts/setup.sh", err)
	}
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); line != "connected\n" {
		_ = cmd.Wait()
		t.Fatalf("the program does not connect (is its driver there? run scripts/setup.sh): %q, %v\n%s", line, err, stderr.String())
	}
	pause(ctx, t, c)
	fmt.Fprintln(stdin, "go")
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the program: %v\n%s%s", err, rest, stderr.String())
	}
	if never := strings.HasSuffix(string(rest), "stale 0\n"); never != (mode == "token") {
		t.Errorf("of %d reads with mode %s:\n%s", rounds, mode, rest)
	}
	if !strings.Contains(strings.ToLower(string(rest)), "reported true\n") {
		t.Errorf("the driver does not show the token that the sidecar reports:\n%s", rest)
	}
}

// pause stops replay on every replica, once they have replayed everything,
// until the test ends.
func pause(ctx context.Context, t *testing.T, c *cluster.Cluster) {
	t.Helper()
	if err := c.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Replicas() {
		if err := n.PauseReplay(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.ResumeReplay(context.Background()); err != nil {
				t.Errorf("resume replay: %v", err)
			}
		})
	}
}

// sidecar starts a proxy in front of the cluster and returns its address.
func sidecar(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	source, err := router.Static(c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	monitor, err := pgprobe.New(pgprobe.Config{DSN: c.Primary().DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres")})
	if err != nil {
		t.Fatal(err)
	}
	server, err := proxy.New(proxy.Config{
		Listen: []string{"127.0.0.1:0"}, Source: source, Monitor: monitor, Auth: proxy.AuthTrust,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, 0) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("end the sidecar: %v", err)
		}
		monitor.Close()
	})
	select {
	case <-server.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	return server.Addrs()[0].String()
}
