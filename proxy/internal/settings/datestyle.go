package settings

import "strings"

// dateStyle is the one setting whose value adds to the one before: SET
// datestyle = ymd keeps the style and changes the order (check_datestyle).
const dateStyle = "datestyle"

// After returns what stands for a setting after SET name = value in a session
// in which s is set.
func (s *Set) After(name, value string) string {
	if name != dateStyle {
		return value
	}
	before, ok := s.Value(name)
	if !ok {
		return value
	}
	style, order, ok := dateStyleOf(value)
	if !ok {
		return value
	}
	oldStyle, oldOrder, ok := dateStyleOf(before)
	if !ok {
		return value
	}
	if style == "german" && order == "" {
		order = "dmy"
	}
	if style == "" {
		style = oldStyle
	}
	if order == "" {
		order = oldOrder
	}
	return "'" + strings.Trim(style+", "+order, ", ") + "'"
}

// dateStyleOf takes a value apart; either part may be missing. It returns false
// for what PostgreSQL would refuse or what is not plain.
func dateStyleOf(value string) (style, order string, ok bool) {
	for _, part := range strings.Split(Plain(value), ",") {
		word := strings.ToLower(strings.Trim(part, "' \t\n"))
		switch {
		case word == "iso", word == "sql", word == "german":
			style = word
		case strings.HasPrefix(word, "postgres"):
			style = "postgres"
		case word == "ymd", word == "dmy", word == "mdy":
			order = word
		case strings.HasPrefix(word, "euro"):
			order = "dmy"
		case word == "us", strings.HasPrefix(word, "noneuro"):
			order = "mdy"
		default:
			return "", "", false
		}
	}
	return style, order, true
}
