//go:build !linux

package backend

import "syscall"

// boundSilence does nothing: not every system can.
func boundSilence(string, string, syscall.RawConn) error { return nil }
