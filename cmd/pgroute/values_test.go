package main

import (
	"crypto/tls"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "17B": 17, "1kB": 1 << 10, "3KiB": 3 << 10, "16MiB": 16 << 20, "16MB": 16 << 20, "16 MB": 16 << 20,
		"2GB": 2 << 30, "1TiB": 1 << 40, " 5 ": 5,
	} {
		if got, err := parseSize(text); got != want || err != nil {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1.5MB", "1mb", "1 M B", "0x10", "99999999999999999999", "9999999TB", "1MBB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "100ms": 100 * time.Millisecond, "250": 250 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "24h": 24 * time.Hour,
	} {
		if got, err := parseDuration(text); got != want || err != nil {
			t.Errorf("parseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "-1", "-1s", "25h", "1 day", "99999999999"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %v", text, got)
		}
	}
}

func TestParseListen(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:6432": "127.0.0.1:6432", ":6432": ":6432", "6432": "127.0.0.1:6432", "[::1]:0": "[::1]:0", "localhost:1": "localhost:1",
		"unix:/run/pgroute": "unix:/run/pgroute", "unix:/run/pgroute:7000": "unix:/run/pgroute:7000",
	} {
		if got, err := parseListen(text); got != want || err != nil {
			t.Errorf("parseListen(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "host", "host:", "host:x", "a b:1", "::1:5", "unix:", "unix:run", "unix:/run:x", "1:2:3", "70000"} {
		if got, err := parseListen(text); err == nil {
			t.Errorf("parseListen(%q) = %q", text, got)
		}
	}
}

func TestByteText(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 16 << 20: "16.0 MiB", 1 << 50: "1024.0 TiB"} {
		if got := byteText(n); got != want {
			t.Errorf("byteText(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestParseTLSVersion(t *testing.T) {
	for text, want := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13, "TLSv1.3": tls.VersionTLS13} {
		if got, err := parseTLSVersion(text); got != want || err != nil {
			t.Errorf("parseTLSVersion(%q) = %x, %v; want %x", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1", "1.1", "1.4", "SSLv3", "0x304"} {
		if got, err := parseTLSVersion(text); err == nil {
			t.Errorf("parseTLSVersion(%q) = %x", text, got)
		}
	}
}
