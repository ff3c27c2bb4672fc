//go:build !linux

package main

import "os/exec"

// The suites run on Linux only, where the test cluster does.

func orphanSignal(*exec.Cmd) {}

func runAs(*exec.Cmd, int, int) {}
