//go:build !linux

package main

import (
	"errors"
	"time"
)

var errNotLinux = errors.New("measuring needs Linux's /proc")

// usage is the processor time of a server by kind of process.
type usage map[string]time.Duration

func serverUsage(int) (usage, error)   { return nil, errNotLinux }
func (u usage) since(usage) usage      { return nil }
func (u usage) all() time.Duration     { return 0 }
func privateMemory(int) (int64, error) { return 0, errNotLinux }

func processTime(int) (time.Duration, error) { return 0, errNotLinux }
