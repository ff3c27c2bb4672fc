//go:build !linux

package cluster

import (
	"errors"
	"os"
	"syscall"
)

// Other systems only compile: serverOwner refuses, and nothing below is
// reached after it.
const (
	sigFast      = syscall.Signal(2)
	sigImmediate = syscall.Signal(3)
	sigReload    = syscall.Signal(1)
	sigFreeze    = syscall.Signal(0)
	sigThaw      = syscall.Signal(0)
	sigKill      = syscall.Signal(9)
)

var (
	errLinuxOnly = errors.New("test clusters run on Linux only")
	errNoProcess = errLinuxOnly
)

type owner struct{}

func serverOwner() (owner, error)                 { return owner{}, errLinuxOnly }
func (o owner) attributes() *syscall.SysProcAttr  { return nil }
func (o owner) take(string) error                 { return errLinuxOnly }
func ownFolder(string) bool                       { return false }
func signal(int, syscall.Signal) error            { return errLinuxOnly }
func freeBytes(string) uint64                     { return 0 }
func tryLock(*os.File, bool) (bool, error)        { return false, errLinuxOnly }
func children(int) ([]int, error)                 { return nil, errLinuxOnly }
func processStat(int) (parent int, state byte)    { return 0, 0 }
func alive(int) bool                              { return false }
func removeSharedMemory(id, postmaster int) error { return errLinuxOnly }
func ephemeralStart() int                         { return 32768 }
