package trusted

import (
	"slices"
	"strings"
)

// maxBorn bounds what a client's settings add to a startup packet, of which PostgreSQL reads 10,000 bytes.
const maxBorn = 5000

// behind are the settings that a startup packet could make and SET cannot: what PostgreSQL loads and logs for a connection is not a
// client's to decide. They are set behind the login, where PostgreSQL refuses them.
var behind = map[string]bool{
	"local_preload_libraries": true, "session_preload_libraries": true, "ignore_system_indexes": true, "post_auth_delay": true,
	"jit_debugging_support": true, "jit_profiling_support": true, "log_connections": true, "log_disconnections": true,
}

// waiting are the settings under which the proxy's own words may fail or wait: what it asks a new connection, and the installation of a
// context. (A read-only, deferrable, serializable transaction waits for all others.)
var waiting = map[string]bool{
	"statement_timeout": true, "lock_timeout": true, "transaction_timeout": true, "idle_in_transaction_session_timeout": true,
	"idle_session_timeout": true, "default_transaction_isolation": true, "default_transaction_deferrable": true, "default_transaction_read_only": true,
}

// Startup gives those of the settings that can stand in the startup packet of a server connection which serves nobody but clients that
// have asked for the same: there RESET goes back to them, as it does without a proxy. What a packet would read as something else than
// a setting never does (Reserved, Packet), and none does where they are too long. Where there is a context, it is put on before time
// limits and kinds of transactions are the client's.
func (s *Settings) Startup(d Dialect) (list [][2]string) {
	_, none := d.(None)
	size := 0
	for _, kv := range s.list {
		if name := strings.ToLower(kv[0]); kv[0] == "" || Reserved(name) || Packet(name) || behind[name] || waiting[name] && !none ||
			strings.ContainsRune(kv[0], 0) || strings.ContainsRune(kv[1], 0) {
			continue
		}
		list = append(list, kv)
		size += len(kv[0]) + len(kv[1]) + 2
	}
	if size > maxBorn {
		return nil
	}
	return list
}

// Equal reports whether two sets have the same settings with the same values. nil is the set of none.
func (s *Settings) Equal(other *Settings) bool {
	if s == nil || other == nil {
		return (s == nil || len(s.list) == 0) && (other == nil || len(other.list) == 0)
	}
	return s == other || slices.Equal(s.list, other.list)
}

// Packet names what a startup packet says beside settings (protocol-message-formats, StartupMessage). In "options" such a name is
// none that PostgreSQL knows.
func Packet(name string) bool {
	name = strings.ToLower(name)
	return name == "user" || name == "database" || name == "options" || name == "replication" || strings.HasPrefix(name, "_pq_.")
}

// Bear notes that a new connection was opened with the client settings set in its startup packet: RESET goes back to them. From then on
// the connection is for no client with others. nil: with none.
func (s *Session) Bear(set *Settings) { s.born, s.settings = set, set }

// Born gives the client settings that the connection was opened with; nil: none.
func (s *Session) Born() *Settings { return s.born }
