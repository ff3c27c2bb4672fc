package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ZooKeeperOptions says what ZooKeeper server to start. The zero value is a
// server with ticks of half a second: it grants session timeouts of 1 to 10 s.
type ZooKeeperOptions struct {
	// Settings are further lines of zoo.cfg. They win over this package's own.
	Settings map[string]string
	// JavaFlags are further flags of the Java virtual machine.
	JavaFlags []string
	// Host is where the server runs; nil means here.
	Host *Host
}

// A ZooKeeper is one standalone ZooKeeper server on 127.0.0.1 or on its Host. It has no
// client library: tests bring their own connection.
type ZooKeeper struct {
	opts ZooKeeperOptions
	box  *sandbox
	java string
	port int

	mu   sync.Mutex // guards the field below
	proc *process

	closeOnce sync.Once
	closeErr  error
}

// zooKeeperJars are Debian's; the first one's manifest names all the others
// but slf4j's binding, without which there is no log.
var zooKeeperJars = []string{"/usr/share/java/zookeeper.jar", "/usr/share/java/slf4j-simple.jar"}

// ZooKeeperInstalled says whether NewZooKeeper can work here.
func ZooKeeperInstalled() bool {
	_, err := exec.LookPath("java")
	if err != nil {
		return false
	}
	_, err = os.Stat(zooKeeperJars[0])
	return err == nil
}

// NewZooKeeper starts a server and returns when it serves. ctx bounds the
// start; the caller must Close it.
func NewZooKeeper(ctx context.Context, opts ZooKeeperOptions) (*ZooKeeper, error) {
	java, err := exec.LookPath("java")
	if err != nil || !ZooKeeperInstalled() {
		return nil, errors.New("start ZooKeeper: it is not installed (Debian: apt-get install zookeeper)")
	}
	box, err := newSandbox("zk", false, "KILL")
	if err != nil {
		return nil, fmt.Errorf("start ZooKeeper: %w", err)
	}
	z := &ZooKeeper{opts: opts, box: box, java: java}
	if err := z.boot(ctx); err != nil {
		return nil, errors.Join(err, z.Close())
	}
	return z, nil
}

// furnish makes what the server needs beside zoo.cfg.
func (z *ZooKeeper) furnish() error {
	if err := z.box.mkdir(z.box.path("data")); err != nil {
		return err
	}
	logging := "org.slf4j.simpleLogger.showDateTime=true\norg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS\n"
	return z.box.writeFile(z.box.path("simplelogger.properties"), logging)
}

func (z *ZooKeeper) boot(ctx context.Context) error {
	if err := z.furnish(); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(1)
		if err != nil {
			return err
		}
		z.port = ports[0]
		if err := z.box.writeFile(z.box.path("zoo.cfg"), z.config()); err != nil {
			return err
		}
		if err := z.Start(ctx); err == nil || attempt == 3 || !errors.Is(err, errPortTaken) {
			return err
		}
	}
}

// config is zoo.cfg. forceSync=no spares a test the wait for the disk.
func (z *ZooKeeper) config() string {
	settings := map[string]string{
		"tickTime":               "500",
		"initLimit":              "20",
		"syncLimit":              "10",
		"dataDir":                z.box.path("data"),
		"clientPort":             strconv.Itoa(z.port),
		"clientPortAddress":      z.opts.Host.ip(),
		"4lw.commands.whitelist": "*",
		"maxClientCnxns":         "0",
		"forceSync":              "no",
		"admin.enableServer":     "false",
	}
	maps.Copy(settings, z.opts.Settings)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s=%s\n", name, settings[name])
	}
	return b.String()
}

// Addr is HOST:PORT, the same for the server's whole life.
func (z *ZooKeeper) Addr() string { return net.JoinHostPort(z.opts.Host.ip(), strconv.Itoa(z.port)) }

// Start starts the server, again after Kill, on the data that it had, and
// returns when it serves.
func (z *ZooKeeper) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if z.process().running() {
		return errors.New("start ZooKeeper: it is running")
	}
	// The flags only make the start faster and the process smaller.
	flags := []string{"-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:ReservedCodeCacheSize=24m",
		"-XX:MaxMetaspaceSize=64m", "-Xss256k", "-XX:-UsePerfData"}
	flags = append(flags, z.opts.JavaFlags...)
	cmd := exec.Command(z.java, append(flags, "-cp", strings.Join(append([]string{z.box.dir}, zooKeeperJars...), ":"),
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", z.box.path("zoo.cfg"))...)
	proc, err := z.box.startOn(z.opts.Host, cmd, z.logFile())
	if err != nil {
		return fmt.Errorf("start ZooKeeper: %w", err)
	}
	z.mu.Lock()
	z.proc = proc
	z.mu.Unlock()
	err = poll(ctx, "start ZooKeeper", func() (bool, error) {
		if !proc.running() {
			text := z.LogTail(4 << 10)
			if strings.Contains(text, "Address already in use") {
				return false, errPortTaken
			}
			return false, fmt.Errorf("the server exited (%v): %s", proc.err, text)
		}
		answer, err := z.Ask("srvr")
		return err == nil && strings.Contains(answer, "Mode:"), nil
	})
	if err != nil {
		return errors.Join(err, z.Kill())
	}
	return nil
}

// askTimeout bounds a question, on a busy machine.
const askTimeout = 10 * time.Second

// Ask sends a four-letter word, such as ruok or mntr, and returns the answer.
func (z *ZooKeeper) Ask(word string) (string, error) {
	conn, err := net.DialTimeout("tcp", z.Addr(), askTimeout)
	if err != nil {
		return "", fmt.Errorf("ask ZooKeeper %s: %w", word, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return "", fmt.Errorf("ask ZooKeeper %s: %w", word, err)
	}
	if _, err := io.WriteString(conn, word); err != nil {
		return "", fmt.Errorf("ask ZooKeeper %s: %w", word, err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 1<<20))
	if err != nil {
		return "", fmt.Errorf("ask ZooKeeper %s: %w", word, err)
	}
	return string(answer), nil
}

// Kill ends the server with SIGKILL. Its data stays: after Start the sessions
// that have not expired go on.
func (z *ZooKeeper) Kill() error {
	proc := z.process()
	if !proc.running() {
		return nil
	}
	if err := proc.signal(sigKill); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, errNoProcess) {
		return fmt.Errorf("kill ZooKeeper: %w", err)
	}
	if !proc.ended(stopTimeout) {
		return fmt.Errorf("kill ZooKeeper: still there after %v", stopTimeout)
	}
	return nil
}

// Stop makes the server hang (SIGSTOP): connections stay open, nothing
// answers. Cont undoes it.
func (z *ZooKeeper) Stop() error {
	if err := z.process().signal(sigFreeze); err != nil {
		return fmt.Errorf("stop ZooKeeper: %w", err)
	}
	return nil
}

// Cont lets a server run on that Stop has stopped.
func (z *ZooKeeper) Cont() error {
	if err := z.process().signal(sigThaw); err != nil {
		return fmt.Errorf("continue ZooKeeper: %w", err)
	}
	return nil
}

// Running says whether the server's process is there, hanging or not.
func (z *ZooKeeper) Running() bool { return z.process().running() }

// PID is the server's process id, 0 when it does not run.
func (z *ZooKeeper) PID() int {
	if p := z.process(); p.running() {
		return p.pid
	}
	return 0
}

// LogTail is the end of the server's log, at most size bytes of it.
func (z *ZooKeeper) LogTail(size int64) string { return tail(z.logFile(), size) }

// Close ends the server and removes its files. It may be called more than once.
func (z *ZooKeeper) Close() error {
	z.closeOnce.Do(func() { z.closeErr = errors.Join(z.Kill(), z.box.close()) })
	return z.closeErr
}

func (z *ZooKeeper) logFile() string { return filepath.Join(z.box.dir, "log") }

func (z *ZooKeeper) process() *process {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.proc
}
