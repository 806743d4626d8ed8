package wire

import (
	"fmt"
	"strings"

	"github.com/claimpool/claimpool"
)

// ParseOptions reads the start-up parameter "options", which is a command line for the server process, into the settings
// that it makes, in order (libpq, connection parameter "options"):
//
//	-c name=value   -cname=value   --name=value
//
// White space parts the arguments, a backslash takes the next character as it is, and a '-' in the name of a long option
// means '_'. Other switches of the server program are refused.
func ParseOptions(s string) ([][2]string, error) {
	var settings [][2]string
	args := splitOptions(s)
	for i := 0; i < len(args); i++ {
		arg := args[i]
		var text string
		switch {
		case arg == "-c":
			i++
			if i == len(args) {
				return nil, optionError("-c requires a value")
			}
			text = args[i]
		case strings.HasPrefix(arg, "-c"):
			text = arg[2:]
		case strings.HasPrefix(arg, "--") && len(arg) > 2:
			text = arg[2:]
		default:
			return nil, optionError(fmt.Sprintf("invalid command-line argument for server process: %s", shown(arg)))
		}
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, optionError(fmt.Sprintf("%q requires a value", shown(text)))
		}
		settings = append(settings, [2]string{strings.ReplaceAll(name, "-", "_"), value})
	}
	return settings, nil
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
	return &claimpool.Error{Code: claimpool.CodeInvalidParameterValue, Message: message}
}
