// Package connstring changes libpq connection strings, for the packages that
// connect with one string to each server of a cluster.
package connstring

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// WithAddress returns dsn, a URL or keyword=value, with its host and port
// replaced. In both forms the last mention of a key wins. To do that before
// the string is parsed lets everything that depends on the host follow it,
// such as the name that a certificate must have.
func WithAddress(dsn, host string, port int) (string, error) {
	switch {
	case host == "":
		return "", errors.New("there is no host")
	case strings.ContainsAny(host, ",\x00"):
		// A comma would make it a list of hosts.
		return "", fmt.Errorf("malformed host %q", host)
	case port < 1 || port > 65535:
		return "", fmt.Errorf("port %d is not between 1 and 65535", port)
	}
	number := strconv.Itoa(port)
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		separator := "?"
		if strings.Contains(dsn, "?") {
			separator = "&"
		}
		return dsn + separator + "host=" + percentEncode(host) + "&port=" + number, nil
	}
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(host)
	return dsn + " host='" + quoted + "' port=" + number, nil
}

// percentEncode escapes everything that is not a letter or a digit. The
// functions of net/url leave characters alone that libpq's URI grammar
// separates at.
func percentEncode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
