//go:build !linux

package cluster

import "os"

// NewNetwork works on Linux only.
func NewNetwork() (*Network, error) { return nil, errLinuxOnly }

// NewHost works on Linux only.
func (n *Network) NewHost(string) (*Host, error) { return nil, errLinuxOnly }

// Enter runs do.
func (h *Host) Enter(do func() error) error { return do() }

// Disk works on Linux only.
func (h *Host) Disk(int64) (string, error) { return "", errLinuxOnly }

// FillDisk works on Linux only.
func (h *Host) FillDisk(int64) error { return errLinuxOnly }

// FreeDisk works on Linux only.
func (h *Host) FreeDisk() error { return errLinuxOnly }

func namespaceName(*os.File) (string, error) { return "", errLinuxOnly }
