package reactor

import "golang.org/x/sys/unix"

// Descriptors is how many files the process may have open.
func Descriptors() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(r.Cur, 1<<30))
}
