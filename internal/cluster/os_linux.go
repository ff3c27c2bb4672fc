package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	sigFast      = unix.SIGINT  // PostgreSQL: end the sessions, write a checkpoint, exit
	sigImmediate = unix.SIGQUIT // PostgreSQL: exit at once, recover at the next start
	sigReload    = unix.SIGHUP
	sigFreeze    = unix.SIGSTOP
	sigThaw      = unix.SIGCONT
	sigKill      = unix.SIGKILL

	errNoProcess = unix.ESRCH
)

// owner is the user that runs the servers. PostgreSQL refuses to run as root,
// so that is the user postgres, made if need be, when the caller is root.
type owner struct {
	uid, gid   int
	credential *syscall.Credential // nil: the caller's, who owns what it makes
}

func serverOwner() (owner, error) {
	if os.Geteuid() != 0 {
		return owner{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	u, err := user.Lookup(SuperUser)
	if errors.As(err, new(user.UnknownUserError)) {
		out, addErr := exec.Command("useradd", "--system", "--home-dir", "/", "--shell", "/usr/sbin/nologin", SuperUser).CombinedOutput()
		if addErr != nil {
			// Somebody else may just have done it: the second look decides.
			addErr = fmt.Errorf("useradd %s: %w: %s", SuperUser, addErr, strings.TrimSpace(string(out)))
		}
		if u, err = user.Lookup(SuperUser); err != nil {
			return owner{}, errors.Join(addErr, err)
		}
	}
	if err != nil {
		return owner{}, fmt.Errorf("look up the user %s: %w", SuperUser, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return owner{}, fmt.Errorf("uid of %s: %w", SuperUser, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return owner{}, fmt.Errorf("gid of %s: %w", SuperUser, err)
	}
	return owner{uid: int(uid), gid: int(gid), credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// attributes puts a process into a session of its own, so that a Ctrl-C in the
// terminal reaches only the caller, who then ends the servers in good order.
func (o owner) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Credential: o.credential}
}

// take gives a file to the owner.
func (o owner) take(path string) error {
	if o.credential == nil {
		return nil
	}
	return os.Lchown(path, o.uid, o.gid)
}

// ownFolder says whether path is a folder that only the caller may write to.
func ownFolder(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

func signal(pid int, sig syscall.Signal) error {
	if pid <= 1 {
		return fmt.Errorf("signal %v: no process", sig)
	}
	return syscall.Kill(pid, sig)
}

// freeBytes is the space left on the file system of dir.
func freeBytes(dir string) uint64 {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil || unix.Access(dir, unix.W_OK) != nil {
		return 0
	}
	return fs.Bavail * uint64(fs.Bsize)
}

// tryLock takes a lock on f that ends with f, without waiting.
func tryLock(f *os.File, exclusive bool) (bool, error) {
	how := unix.LOCK_SH | unix.LOCK_NB
	if exclusive {
		how = unix.LOCK_EX | unix.LOCK_NB
	}
	err := unix.Flock(int(f.Fd()), how)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
		return false, nil
	}
	return err == nil, err
}

// children lists the processes whose parent is pid.
func children(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if parent, state := processStat(child); parent == pid && state != 'Z' {
			pids = append(pids, child)
		}
	}
	return pids, nil
}

// processStat reads a process's parent and state (proc(5)); 0 if it is gone.
func processStat(pid int) (parent int, state byte) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0
	}
	text := string(data)
	end := strings.LastIndexByte(text, ')') // the name before it may contain anything
	if end < 0 {
		return 0, 0
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 2 || len(fields[0]) != 1 {
		return 0, 0
	}
	parent, err = strconv.Atoi(fields[1])
	if err != nil {
		return 0, 0
	}
	return parent, fields[0][0]
}

// alive says whether pid still runs; a zombie does not.
func alive(pid int) bool {
	_, state := processStat(pid)
	return state != 0 && state != 'Z' && state != 'X'
}

// removeSharedMemory removes the System V segment that a killed postmaster
// left behind, if it is the one that this postmaster made.
func removeSharedMemory(id, postmaster int) error {
	var desc unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &desc); err != nil || int(desc.Cpid) != postmaster || desc.Nattch != 0 {
		return nil // gone, or somebody else's
	}
	if _, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil); err != nil {
		return fmt.Errorf("remove shared memory segment %d: %w", id, err)
	}
	return nil
}

// ephemeralStart is the first port that the kernel gives to outgoing
// connections. Servers listen below it: above, such a connection could take a
// stopped server's port before it starts again.
func ephemeralStart() int {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 32768
	}
	var first, last int
	if _, err := fmt.Sscan(string(data), &first, &last); err != nil {
		return 32768
	}
	return first
}
