package handshake

import (
	"strconv"
	"strings"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// valueSwitches are the switches of postgres that take a value; "--" is one of
// them, with the rest of the argument as its value.
const valueSwitches = "BCDcdfhkNprStvW-"

// parseOptions turns the command line inside a startup packet into settings,
// as pg_split_opts, getopt and process_postgres_switches do.
func parseOptions(s string) ([]Param, error) {
	var params []Param
	var operand string // the first argument that is no option
	var operands bool
	args := splitOptions(s)
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			if len(args) > 0 && !operands {
				operand, operands = args[0], true
			}
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			// getopt goes on behind it and leaves it for the end.
			if !operands {
				operand, operands = arg, true
			}
			continue
		}
		more, rest, err := parseSwitches(arg, args)
		if err != nil {
			return nil, err
		}
		params, args = append(params, more...), rest
	}
	if operands {
		return nil, badArgument(operand)
	}
	return params, nil
}

// parseSwitches parses the letters of one argument. The last of them may take
// its value from the next argument; rest is what is left then.
func parseSwitches(arg string, args []string) (params []Param, rest []string, err error) {
	for i := 1; i < len(arg); i++ {
		value, last := "", arg
		takesValue := strings.IndexByte(valueSwitches, arg[i]) >= 0
		switch {
		case !takesValue:
		case i+1 < len(arg):
			value = arg[i+1:]
		case len(args) > 0:
			value, last, args = args[0], args[0], args[1:]
		default:
			return nil, nil, badArgument(arg)
		}
		more, err := parseSwitch(arg[i], value)
		if err != nil {
			return nil, nil, err
		}
		if more == nil {
			return nil, nil, badArgument(last)
		}
		params = append(params, more...)
		if takesValue {
			break
		}
	}
	return params, args, nil
}

// ignored is what switches turn into that mean nothing to a session.
var ignored = []Param{}

// parseSwitch returns nil for a switch that does not exist. The old switches
// for settings that a session may not change are passed on too: the server
// refuses them better than we could.
func parseSwitch(c byte, value string) ([]Param, error) {
	set := func(name, value string) ([]Param, error) { return []Param{{name, value}}, nil }
	switch c {
	case 'c', '-':
		return longOption(c, value)
	case 'B':
		return set("shared_buffers", value)
	case 'd':
		return debugOptions(value), nil
	case 'e':
		return set("datestyle", "euro")
	case 'F':
		return set("fsync", "false")
	case 'f':
		if name := planSwitches[first(value)]; name != "" {
			return set(name, "false")
		}
		return nil, nil
	case 'h':
		return set("listen_addresses", value)
	case 'i':
		return set("listen_addresses", "*")
	case 'k':
		return set("unix_socket_directories", value)
	case 'l':
		return set("ssl", "true")
	case 'N':
		return set("max_connections", value)
	case 'O':
		return set("allow_system_table_mods", "true")
	case 'P':
		return set("ignore_system_indexes", "true")
	case 'p':
		return set("port", value)
	case 'S':
		return set("work_mem", value)
	case 's':
		return set("log_statement_stats", "true")
	case 't':
		switch {
		case strings.HasPrefix(value, "pa"):
			return set("log_parser_stats", "true")
		case strings.HasPrefix(value, "pl"):
			return set("log_planner_stats", "true")
		case strings.HasPrefix(value, "e"):
			return set("log_executor_stats", "true")
		}
		return nil, nil
	case 'W':
		return set("post_auth_delay", value)
	case 'b', 'C', 'D', 'E', 'j', 'n', 'r', 'T', 'v':
		return ignored, nil
	}
	return nil, nil
}

// planSwitches are the letters of -f.
var planSwitches = map[byte]string{
	's': "enable_seqscan",
	'i': "enable_indexscan",
	'o': "enable_indexonlyscan",
	'b': "enable_bitmapscan",
	't': "enable_tidscan",
	'n': "enable_nestloop",
	'm': "enable_mergejoin",
	'h': "enable_hashjoin",
}

// debugOptions is set_debug_options.
func debugOptions(value string) []Param {
	level, _ := strconv.Atoi(value)
	if level <= 0 {
		return []Param{{"log_min_messages", "notice"}}
	}
	params := []Param{{"log_min_messages", "debug" + strconv.Itoa(level)}}
	if level >= 2 {
		params = append(params, Param{"log_statement", "all"})
	}
	for i, name := range []string{"debug_print_parse", "debug_print_plan", "debug_print_rewritten"} {
		if level >= i+3 {
			params = append(params, Param{name, "true"})
		}
	}
	return params
}

// longOption parses "name=value" of -c and --, where dashes in the name stand
// for underscores (ParseLongOption).
func longOption(c byte, s string) ([]Param, error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		if c == 'c' {
			return nil, refuse(sqlstate.SyntaxError, "-c %s requires a value", s)
		}
		return nil, refuse(sqlstate.SyntaxError, "--%s requires a value", s)
	}
	name = strings.ReplaceAll(name, "-", "_")
	if Reserved(name) {
		return nil, refuse(sqlstate.UndefinedObject, "unrecognized configuration parameter \"%s\"", name)
	}
	return []Param{{name, value}}, nil
}

// splitOptions cuts at white space; a backslash takes the next byte as it is.
func splitOptions(s string) []string {
	var args []string
	var arg []byte
	inside, escaped := false, false
	for i := range len(s) {
		c := s[i]
		switch {
		case !escaped && isSpace(c):
			if inside {
				args = append(args, string(arg))
			}
			arg, inside = arg[:0], false
			continue
		case !escaped && c == '\\':
			escaped = true
		default:
			escaped = false
			arg = append(arg, c)
		}
		inside = true
	}
	if inside {
		args = append(args, string(arg))
	}
	return args
}

// isSpace is C's isspace in the C locale.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func first(s string) byte {
	if s == "" {
		return 0
	}
	return s[0]
}

func badArgument(arg string) *Refusal {
	return refuse(sqlstate.SyntaxError, "invalid command-line argument for server process: %s", arg).
		hint("Try \"postgres --help\" for more information.")
}
