package admin

import (
	options "flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

//go:generate go test -run ^TestConsolePage$ . -update

// TestConsolePage compares docs/reference/console.md with the commands; -update rewrites it.
func TestConsolePage(t *testing.T) {
	const path = "../docs/reference/console.md"
	page := consolePage()
	if options.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != page {
		t.Errorf("%s is not what the code says; run: go generate ./admin (%v)", path, err)
	}
	for line := range strings.Lines(page) {
		if strings.HasSuffix(line, "|  |\n") {
			t.Errorf("what is it? %s", line)
		}
	}
}

// consolePage is the manual of the console's commands.
func consolePage() string {
	var b strings.Builder
	b.WriteString("# Commands of the console\n\n<!-- Generated from admin/show.go and its neighbours by \"go generate ./admin\". Do not edit. -->\n\n")
	b.WriteString("What administrators and readers say in the [console](../howto/console.md). `SHOW HELP` prints the first table.\n\n| command | for | does |\n|---|---|---|\n")
	for _, row := range help() {
		fmt.Fprintf(&b, "| `%s` | %ss | %s |\n", row[0], row[1], row[2])
	}
	for _, name := range slices.Sorted(maps.Keys(views)) {
		fmt.Fprintf(&b, "\n## `SHOW %s`\n\n%s.\n\n| column | type | is |\n|---|---|---|\n", name, strings.ToUpper(views[name].about[:1])+views[name].about[1:])
		for _, c := range views[name].columns {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.name, typeNames[c.kind], meaning(name, c.name))
		}
	}
	return b.String()
}

var typeNames = map[kind]string{text: "text", number: "bigint", small: "integer", flag: "boolean", moment: "timestamptz"}

// meaning is what a column says: by itself, or in one of the answers.
func meaning(view, column string) string {
	if m, ok := meanings[view+"."+column]; ok {
		return m
	}
	return meanings[column]
}

// meanings are those of the columns, by "VIEW.column", or by the name alone where it means the same everywhere.
var meanings = map[string]string{
	"addr": "address and port; `@` for a unix socket", "CLIENTS.addr": "address and port; behind a load balancer, where there is no audit stream, the load balancer's", "by": "the role that wrote it", "by_issuer": "a logout at the issuer, which nobody takes back", "undone_by": "the number of the line that takes this one back; null: it is in force",
	"avg_ms": "how long the accepted ones took, on average", "avg_xact_us": "`xact_ms` for each transaction", "before": "what was issued up to then is revoked", "cl_active": "clients with a server connection",
	"cl_connected": "clients that are logged in", "cl_waiting": "clients that wait for a server connection", "client": "the number of a client, as in the log and the audit stream",
	"SERVERS.client": "the number of the client that has it", "command": "what to say", "context": "how claims reach it", "database": "the name that clients use", "dbname": "the name at the server",
	"does": "what comes of it", "from_clients_bytes": "bytes that clients have sent to servers", "hash": "what was revoked, as the audit stream shows it", "hosts": "its servers", "id": "the number in the table",
	"identity": "subject, or subject@issuer", "SERVERS.identity": "whose context it carries", "idle_s": "seconds since its last transaction; 0 while it has one", "issuer": "the issuer", "key": "the setting",
	"kind": "token, session, subject, sessionless or issuer; logout: a logout token that was taken; undo: what takes another back", "left": "those who left before the end", "login": "when it logged in", "made": "when it was written", "maxwait_ms": "how long the first in the queue has waited",
	"method": "how the identity was proved", "mode": "session, transaction or statement", "name": "the name that clients use", "opened": "when it was opened", "paused": "clients wait, see PAUSE", "pinned": "it stays with its client between transactions",
	"queue_full": "clients that were refused because the queue was full", "reason": "why, for people", "refused": "refused ones", "accepted": "accepted ones", "reload": "a reload changes it", "reserve_size": "further server connections for those who wait",
	"right": "who may", "role": "the role in PostgreSQL", "server": "the process id in PostgreSQL", "CLIENTS.server": "the process id of the server that it has", "size": "the most server connections",
	"state": "in the words of pg_stat_activity, and some more", "sub": "the person", "sv_active": "server connections that clients have", "sv_closed": "server connections that were closed",
	"sv_idle": "server connections that wait for a client", "sv_open_failed": "server connections that could not be opened", "sv_opened": "server connections that were opened", "sv_opening": "server connections that are being opened",
	"sv_pinned": "of the active ones, those that stay with a client between transactions", "sv_unsure": "of the active ones, those that stay because nobody can tell what is still to be answered",
	"switches": "hand-overs of a server to another identity", "target": "of `databases.NAME.targets`", "target_session_attrs": "which of the hosts will do", "timed_out": "clients that waited for too long",
	"to_clients_bytes": "bytes that servers have sent to clients", "token_ends": "when its token does", "transactions": "transactions that have ended", "value": "its value; of a secret the kind of its place",
	"version": "the program and its version", "wait_ms": "how long they waited", "waits": "clients that waited and got a server connection", "xact_ms": "how long clients had a server connection",
}
