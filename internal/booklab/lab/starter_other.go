//go:build !linux

package lab

import "syscall"

// The cluster runs on Linux only, and so does a lab; elsewhere it compiles.
func childAttributes() *syscall.SysProcAttr { return nil }

func guardAttributes() *syscall.SysProcAttr { return nil }
