package trusted

import (
	"fmt"
	"slices"
	"strings"
)

// pins are the parameters of every server connection's startup packet. What stands in a startup packet wins over ALTER ROLE
// and ALTER DATABASE, and RESET goes back to it: a client that may run ALTER ROLE CURRENT_USER SET cannot change what the
// next connections begin with. The values are PostgreSQL's own defaults, but for the time zone, which has none.
var pins = [][2]string{
	{"application_name", "claimpool"},
	{"client_encoding", "UTF8"},
	{"client_min_messages", "notice"},
	{"DateStyle", "ISO, MDY"},
	{"IntervalStyle", "postgres"},
	{"TimeZone", "UTC"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"standard_conforming_strings", "on"},
	{"backslash_quote", "safe_encoding"},
	{"escape_string_warning", "on"},
	{"array_nulls", "on"},
	{"transform_null_equals", "off"},
	{"quote_all_identifiers", "off"},
	{"search_path", `"$user", public`},
	{"row_security", "on"},
	{"role", "none"},
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"default_tablespace", ""},
	{"temp_tablespaces", ""},
	{"default_table_access_method", "heap"},
	{"check_function_bodies", "on"},
	{"exit_on_error", "off"},
	{"gin_fuzzy_search_limit", "0"},
	{"xmlbinary", "base64"},
	{"xmloption", "content"},
	{"timezone_abbreviations", "Default"},
	{"debug_print_parse", "off"},
	{"debug_print_rewritten", "off"},
	{"debug_print_plan", "off"},
	{"log_parameter_max_length_on_error", "0"},
	{"local_preload_libraries", ""},
}

// Oldest is a version that knows none of the newer pins.
const Oldest = 140000

// Startup gives the parameters for a server connection: the pins that the dialect and the version know, and the configured
// ones, which win.
// A configuration cannot unpin who the connection is. version is PostgreSQL's server_version_num; 0 means that it is not
// known yet, and gives all pins: without transaction_timeout, ALTER ROLE could end every first connection before it has told
// its version. A server that does not know one of them refuses with 42704, and Oldest is to be tried.
func Startup(configured [][2]string, d Dialect, version int) [][2]string {
	list := append(slices.Clone(pins), d.Pins()...)
	if version == 0 || version >= 170000 {
		list = append(list, [2]string{"transaction_timeout", "0"})
	}
	if version == 0 || restricts(version) {
		list = append(list, [2]string{"restrict_nonsystem_relation_kind", ""})
	}
	for _, kv := range configured {
		i := slices.IndexFunc(list, func(have [2]string) bool { return strings.EqualFold(have[0], kv[0]) })
		switch {
		case Reserved(kv[0]):
		case i >= 0:
			list[i][1] = kv[1]
		default:
			list = append(list, kv)
		}
	}
	return list
}

// restricts reports whether a version knows restrict_nonsystem_relation_kind, which came with minor releases.
func restricts(version int) bool {
	switch major, minor := version/10000, version%10000; major {
	case 14:
		return minor >= 13
	case 15:
		return minor >= 8
	case 16:
		return minor >= 4
	default:
		return major >= 17
	}
}

// Version reads the parameter server_version: "18.4 (Debian 18.4-1)", "19beta1". It gives server_version_num, or 0.
func Version(text string) int {
	var major, minor int
	fmt.Sscanf(text, "%d.%d", &major, &minor)
	return major*10000 + minor
}

// Reserved names the parameters that neither a client nor the configuration may set: who a connection is, and the trusted
// context.
func Reserved(name string) bool {
	name = strings.ToLower(name)
	return name == "role" || name == "session_authorization" || strings.HasPrefix(name, "claimpool.")
}
