//go:build !linux

package proxy

// descriptors is for Linux, where alone pgroute serves.
func descriptors() int { return 1024 }
