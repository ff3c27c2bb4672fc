package sqlclass

import "bytes"

// parse reads a comment. Anything that does not begin with pgroute: is not for
// us. Words are separated by white space or commas: a level by itself, or
// key=value. The last of several wins.
func (h *Hint) parse(comment []byte) {
	i := 0
	for i < len(comment) && classes[comment[i]]&classSpace != 0 {
		i++
	}
	const prefix = "pgroute:"
	comment = comment[i:]
	if len(comment) < len(prefix) || !equalFold(comment[:len(prefix)], prefix) {
		return
	}
	rest := comment[len(prefix):]
	words := 0
	for {
		for len(rest) > 0 && (classes[rest[0]]&classSpace != 0 || rest[0] == ',') {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			break
		}
		n := 0
		for n < len(rest) && classes[rest[n]]&classSpace == 0 && rest[n] != ',' {
			n++
		}
		words++
		if !h.word(rest[:n]) && h.Bad == nil {
			h.Bad = rest[:n]
		}
		rest = rest[n:]
	}
	if words == 0 && h.Bad == nil {
		h.Bad = comment
	}
}

// word takes one word of a hint and reports whether it was understood.
func (h *Hint) word(w []byte) bool {
	eq := bytes.IndexByte(w, '=')
	if eq < 0 {
		return h.level(w)
	}
	key, value := w[:eq], w[eq+1:]
	switch {
	case equalFold(key, "consistency"):
		return h.level(value)
	case equalFold(key, "on_timeout"):
		return pick(&h.OnTimeout, value, "primary", "error", "stale")
	case equalFold(key, "max_staleness"):
		return duration(&h.MaxStaleness, value)
	case equalFold(key, "wait"):
		return duration(&h.Wait, value)
	}
	return false
}

func (h *Hint) level(w []byte) bool {
	return pick(&h.Level, w, "eventual", "bounded", "session", "strong", "primary")
}

func pick(to *string, w []byte, from ...string) bool {
	for _, s := range from {
		if equalFold(w, s) {
			*to = s
			return true
		}
	}
	return false
}

// duration accepts digits with at most one point, and a unit.
func duration(to *[]byte, w []byte) bool {
	i, digits, points := 0, 0, 0
	for ; i < len(w); i++ {
		if w[i] == '.' {
			points++
		} else if classes[w[i]]&classDigit != 0 {
			digits++
		} else {
			break
		}
	}
	if digits == 0 || points > 1 {
		return false
	}
	switch string(w[i:]) {
	case "us", "ms", "s", "m", "min", "h":
	default:
		if digits != 1 || w[0] != '0' || len(w) != 1 {
			return false
		}
	}
	*to = w
	return true
}

// equalFold compares with a lower-case ASCII word.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if fold(c) != lower[i] {
			return false
		}
	}
	return true
}
