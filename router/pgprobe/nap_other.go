//go:build !linux

package pgprobe

import "time"

// Nap implements router.Napper.
func (p *probe) Nap(d time.Duration) { time.Sleep(d) }
