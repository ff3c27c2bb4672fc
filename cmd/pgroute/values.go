package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are the units of sizes: PostgreSQL's, which count by 1024, and the
// unambiguous ones.
var sizeUnits = map[string]int64{
	"": 1, "B": 1, "kB": 1 << 10, "KB": 1 << 10, "KiB": 1 << 10, "MB": 1 << 20, "MiB": 1 << 20,
	"GB": 1 << 30, "GiB": 1 << 30, "TB": 1 << 40, "TiB": 1 << 40,
}

// parseSize reads a size such as 16MiB. Units count by 1024, as PostgreSQL's
// do.
func parseSize(s string) (int64, error) {
	text := strings.TrimSpace(s)
	i := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if i < 0 {
		i = len(text)
	}
	unit, ok := sizeUnits[strings.TrimSpace(text[i:])]
	n, err := strconv.ParseInt(text[:i], 10, 64)
	if err != nil || !ok {
		return 0, fmt.Errorf("%q is not a size such as 512kB or 16MiB", s)
	}
	if n > (1<<63-1)/unit {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return n * unit, nil
}

// maxDuration bounds durations, as it does in SET pgroute.wait.
const maxDuration = 24 * time.Hour

// parseDuration reads a duration such as 100ms. A bare number is milliseconds,
// as it is in SET pgroute.wait.
func parseDuration(s string) (time.Duration, error) {
	text := strings.TrimSpace(s)
	d, err := time.ParseDuration(text)
	if err != nil {
		n, nerr := strconv.ParseInt(text, 10, 32)
		if nerr != nil {
			return 0, fmt.Errorf("%q is not a duration such as 100ms or 2s", s)
		}
		d = time.Duration(n) * time.Millisecond
	}
	if d < 0 || d > maxDuration {
		return 0, fmt.Errorf("%q is not between 0 and 24h", s)
	}
	return d, nil
}

// parseCount reads a number that is at least least.
func parseCount(s string, least int) (int, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	if n < int64(least) {
		return 0, fmt.Errorf("%q is less than %d", s, least)
	}
	return int(n), nil
}

// parseListen reads where to listen: HOST:PORT, :PORT for all interfaces, PORT
// for loopback only, or unix:DIR[:PORT].
func parseListen(s string) (string, error) {
	if dir, ok := strings.CutPrefix(s, "unix:"); ok {
		path, port, given := strings.Cut(dir, ":")
		if !strings.HasPrefix(path, "/") {
			return "", fmt.Errorf("%q is not unix:DIR with an absolute directory", s)
		}
		if given {
			if err := checkPort(port, 1); err != nil {
				return "", fmt.Errorf("%q: %w", s, err)
			}
		}
		return s, nil
	}
	return parseTCP(s)
}

// parseTCP reads HOST:PORT, :PORT or PORT.
func parseTCP(s string) (string, error) {
	if _, err := strconv.ParseUint(s, 10, 64); err == nil {
		s = net.JoinHostPort("127.0.0.1", s)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%q is not HOST:PORT", s)
	}
	if strings.ContainsAny(host, " \t\r\n/,") {
		return "", fmt.Errorf("%q: malformed host", s)
	}
	if err := checkPort(port, 0); err != nil {
		return "", fmt.Errorf("%q: %w", s, err)
	}
	return s, nil
}

func checkPort(s string, least uint64) error {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n < least {
		return errors.New("the port is not a number up to 65535")
	}
	return nil
}

// oneOf reads a word out of a list, and names the list when it is not there.
func oneOf[T any](s string, parse func(string) (T, error), words string) (T, error) {
	v, err := parse(s)
	if err != nil {
		return v, fmt.Errorf("%q is none of %s", s, words)
	}
	return v, nil
}
