//go:build !linux

package reactor

// Descriptors is for Linux, where alone pgroute serves.
func Descriptors() int { return 1024 }
