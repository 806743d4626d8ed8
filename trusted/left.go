package trusted

import (
	"encoding/json"
	"strings"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/wire"
)

// Left is what a client has left on a connection between two transactions.
type Left struct {
	Uses     feature.Uses // of those that were asked for
	Settings [][2]string  // what is set for the session, when it was asked for
	Channels []string     // that are listened to, when it was asked for
	Role     bool         // it is not the role that has logged in
	Unknown  bool         // the question was not answered
}

const (
	isSession = " source OPERATOR(pg_catalog.=) 'session' AND NOT name OPERATOR(pg_catalog.~~) 'claimpool.%'"
	noRole    = "pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none' OR current_user OPERATOR(pg_catalog.<>) session_user"
)

// residues say where PostgreSQL shows what is left of a feature.
var residues = []struct {
	use feature.Uses
	sql string
}{
	{feature.Listen, "EXISTS (SELECT FROM pg_catalog.pg_listening_channels())"},
	{feature.Lock, "EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND " +
		"pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())"},
	{feature.Temporary, "EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())"},
	{feature.Hold, "EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)"},
	{feature.Prepare, "EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)"},
}

// Question is what PostgreSQL is asked about a connection.
type Question struct {
	Uses     feature.Uses // which of these features have left anything
	Known    *Settings    // settings that the client has brought or made: they are not left by it
	Settings bool         // all that are made
	Custom   []string     // their names, where they have a point in them: PostgreSQL shows these in no list
	Channels bool         // all that are listened to
}

// AskLeft appends a question.
func AskLeft(dst []byte, steps Steps, q *Question) ([]byte, Steps) {
	var b strings.Builder
	b.WriteString("SELECT pg_catalog.concat_ws(',', NULL")
	add := func(sql string, name string) { b.WriteString(", CASE WHEN " + sql + " THEN '" + name + "' END") }
	for _, r := range residues {
		if q.Uses&r.use != 0 {
			add(r.sql, r.use.String())
		}
	}
	if q.Uses&feature.Set != 0 {
		add(noRole+" OR EXISTS (SELECT FROM pg_catalog.pg_settings WHERE"+isSession+" AND setting OPERATOR(pg_catalog.<>) reset_val"+
			notKnown(q.Known)+")", feature.Set.String())
	}
	if q.Settings {
		add(noRole, "role")
		b.WriteString("), (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(name, setting)) FROM (SELECT name, setting " +
			"FROM pg_catalog.pg_settings WHERE" + isSession)
		if list := literals(q.Custom); list != "" {
			b.WriteString(" UNION ALL SELECT name, pg_catalog.current_setting(name, true) FROM pg_catalog.unnest(ARRAY[" + list + "]) name " +
				"WHERE pg_catalog.current_setting(name, true) OPERATOR(pg_catalog.<>) ''")
		}
		b.WriteString(") made)::pg_catalog.text")
	} else {
		b.WriteString("), NULL")
	}
	if q.Channels {
		b.WriteString(", (SELECT pg_catalog.json_agg(c) FROM pg_catalog.pg_listening_channels() c)::pg_catalog.text")
	} else {
		b.WriteString(", NULL")
	}
	return wire.AppendQuery(dst, b.String()), append(steps, StepLeft)
}

// notKnown leaves out the settings of the client that the proxy applies itself.
func notKnown(known *Settings) string {
	var names []string
	for _, kv := range known.list {
		names = append(names, kv[0])
	}
	list := literals(names)
	if list == "" {
		return ""
	}
	return " AND NOT pg_catalog.lower(name) OPERATOR(pg_catalog.=) ANY (ARRAY[" + list + "])"
}

// literals writes names of settings as a list; one that would need more than quotes is left out.
func literals(names []string) string {
	var list []string
	for _, name := range names {
		name = strings.ToLower(name)
		if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_.") == "" {
			list = append(list, "'"+name+"'")
		}
	}
	return strings.Join(list, ", ")
}

// readLeft reads the answer.
func readLeft(body []byte) (l Left, err error) {
	row, err := wire.ParseDataRow(body)
	if err != nil || len(row) != 3 {
		return l, errReply
	}
	for name := range strings.SplitSeq(row[0], ",") {
		for use := feature.Uses(1); use < feature.Features; use <<= 1 {
			if name == use.String() {
				l.Uses |= use
			}
		}
		l.Role = l.Role || name == "role"
	}
	if row[1] != "" && json.Unmarshal([]byte(row[1]), &l.Settings) != nil {
		return l, errReply
	}
	if row[2] != "" && json.Unmarshal([]byte(row[2]), &l.Channels) != nil {
		return l, errReply
	}
	return l, nil
}

// myTempSchema is the OID of pg_catalog.pg_my_temp_schema(), the same in all versions.
const myTempSchema = 2854

// AskTemporary appends the question whether the connection has a schema for temporary objects. Whoever makes the first one gets it, and
// it stays until the connection ends, empty: the next session would not make one, which it can tell. Its settings go first: under
// default_transaction_deferrable whatever is asked next, the next hand-over too, would wait for other transactions.
func AskTemporary(dst []byte, steps Steps) ([]byte, Steps) {
	dst, steps = wire.AppendQuery(dst, "RESET ALL"), append(steps, StepReset)
	return wire.AppendFunctionCall(dst, myTempSchema), append(steps, StepTemporary)
}

// Temporary reports whether there is one, or nobody knows.
func (r *Replies) Temporary() bool { return r.temp }

// Left gives the answer to AskLeft.
func (r *Replies) Left() *Left { return &r.left }

// Refusal is SQL that fails with an error, in whatever state a session is.
func Refusal(e *claimpool.Error) string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	return "DO $claimpool$BEGIN RAISE EXCEPTION USING ERRCODE = " + quote(string(e.Code)) + ", MESSAGE = " + quote(e.Message) +
		", HINT = " + quote(e.Hint) + "; END$claimpool$"
}

// Listen appends LISTEN or UNLISTEN for a channel.
func Listen(dst []byte, steps Steps, use feature.Uses, channel string) ([]byte, Steps) {
	sql, step := "LISTEN ", StepListen
	if use == feature.Unlisten {
		sql, step = "UNLISTEN ", StepUnlisten
	}
	return wire.AppendQuery(dst, sql+`"`+strings.ReplaceAll(channel, `"`, `""`)+`"`), append(steps, step)
}
