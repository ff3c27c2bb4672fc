//go:build !linux

package main

import (
	"errors"
	"syscall"
	"time"
)

var errLinux = errors.New("the benchmark runs on Linux only")

func raiseDescriptors(uint64) error { return errLinux }

func cpuTime(int) (time.Duration, error) { return 0, errLinux }

func orphanSignal() *syscall.SysProcAttr { return nil }
