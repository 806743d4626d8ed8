package trusted

import (
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
	{"check_function_bodies", "on"},
	{"local_preload_libraries", ""},
	{SQLSetting, ""},
}

// Startup gives the parameters for a server connection: the pins, those that only newer versions know when the version is
// known (major 0: it is not), and the configured ones, which win. A configuration cannot unpin who the connection is.
func Startup(configured [][2]string, major int) [][2]string {
	list := slices.Clone(pins)
	if major >= 17 {
		list = append(list, [2]string{"transaction_timeout", "0"})
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

// Reserved names the parameters that neither a client nor the configuration may set: who a connection is, and the trusted
// context.
func Reserved(name string) bool {
	name = strings.ToLower(name)
	return name == "role" || name == "session_authorization" || strings.HasPrefix(name, "claimpool.")
}
