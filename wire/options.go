package wire

import (
	"fmt"
	"strings"

	"github.com/claimpool/claimpool"
)

// ParseOptions reads the start-up parameter "options", which is a command line for the server process, into the settings
// that it makes, in order (libpq, connection parameter "options"; postgres, Options):
//
//	-c name=value   -cname=value   --name=value
//	-e   -S work-mem   -f { s | i | o | b | t | n | m | h }
//
// White space parts the arguments, a backslash takes the next character as it is, and a '-' in the name of a long option
// means '_'. "--" is the end. Other switches of the server program are refused, with PostgreSQL's 42601.
func ParseOptions(s string) ([][2]string, error) {
	var settings [][2]string
	args := splitOptions(s)
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--" && len(args) == 0:
			return settings, nil
		case arg == "-e":
			settings = append(settings, [2]string{"DateStyle", "euro"})
			continue
		case strings.HasPrefix(arg, "--") && len(arg) > 2:
			arg = "-c" + arg[2:]
		case len(arg) < 2 || arg[0] != '-' || strings.IndexByte("cSf", arg[1]) < 0:
			return nil, notAnOption(arg)
		case len(arg) == 2: // what it takes is the next argument
			if len(args) == 0 {
				return nil, optionError(arg + " requires a value")
			}
			arg, args = arg+args[0], args[1:]
		}
		setting, err := switchSetting(arg[1], arg[2:])
		if err != nil {
			return nil, err
		}
		settings = append(settings, setting)
	}
	return settings, nil
}

// methods are what -f turns off.
var methods = map[string]string{
	"s": "enable_seqscan", "i": "enable_indexscan", "o": "enable_indexonlyscan", "b": "enable_bitmapscan", "t": "enable_tidscan",
	"n": "enable_nestloop", "m": "enable_mergejoin", "h": "enable_hashjoin",
}

// switchSetting gives the setting that a switch with a value makes.
func switchSetting(letter byte, text string) (kv [2]string, err error) {
	switch letter {
	case 'S':
		return [2]string{"work_mem", text}, nil
	case 'f':
		name, ok := methods[text]
		if !ok {
			return kv, notAnOption("-f" + text)
		}
		return [2]string{name, "off"}, nil
	}
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return kv, optionError(fmt.Sprintf("%q requires a value", shown(text)))
	}
	return [2]string{strings.ReplaceAll(name, "-", "_"), value}, nil
}

func notAnOption(arg string) error {
	return optionError(fmt.Sprintf("invalid command-line argument for server process: %s", shown(arg)))
}

// splitOptions cuts a command line into arguments, as pg_split_opts does.
func splitOptions(s string) []string {
	var args []string
	var arg strings.Builder
	inside := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case isSpace(c):
			if inside {
				args = append(args, arg.String())
				arg.Reset()
				inside = false
			}
			continue
		case c == '\\':
			i++
			if i < len(s) { // a backslash at the very end stands for nothing
				arg.WriteByte(s[i])
			}
		default:
			arg.WriteByte(c)
		}
		inside = true
	}
	if inside {
		args = append(args, arg.String())
	}
	return args
}

// isSpace is C's isspace in the C locale.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// shown is as much of an argument as may stand in an error: a value, which may be a token, does not.
func shown(arg string) string {
	const most = 40
	arg, _, _ = strings.Cut(arg, "=")
	return arg[:min(len(arg), most)]
}

func optionError(message string) error {
	return &claimpool.Error{Code: claimpool.CodeSyntaxError, Message: message}
}
