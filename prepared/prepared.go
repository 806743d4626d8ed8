// Package prepared lets named statements of the extended protocol follow a client from server to server. It keeps three
// books: what each client has prepared (Client), what each server connection holds (Server), and the texts, which clients
// of one identity share (Library). Messages that name a statement are rewritten to names of our own, and a statement that
// the server at hand does not have is prepared there first, unseen. It does not know sockets, pools or what a transaction
// is, and it parses no SQL.
//
// Names of clients never reach a server while they stand for a statement of ours, and names of ours cannot be guessed. A
// server's book is emptied whenever its connection is wiped for another identity, so that no statement is ever executed
// that another identity could have touched.
//
// The server keeps the order of all answers: each message of a client becomes a message with the same answer. A Close of
// something that is not there becomes a Close of nothing, a refusal becomes a Parse that PostgreSQL refuses. So errors in
// the middle of a pipeline, and all that is skipped up to Sync, are PostgreSQL's own (protocol-flow, Extended Query).
package prepared

// Limits bound what clients can make the proxy and the servers remember.
type Limits struct {
	Server int // statements on one server connection; beyond it the one unused for longest is closed there
	Client int // named statements of one client; the next one is refused with 54000
	Bytes  int // of the names and texts of one client's statements; the next one is refused with 54000
}

const (
	// prefix begins every name of ours on servers.
	prefix = "claimpool_"

	// nothing is a name of ours that is never prepared, refused one that can never be prepared by a client.
	nothing = prefix + "nothing"
	refused = prefix + "refused"

	// perStatement is what a statement takes beside its texts.
	perStatement = 200

	// maxName is how much of a statement's name counts: PostgreSQL keeps statements in a hash table whose keys end at
	// NAMEDATALEN.
	maxName = 63
)

// Library holds the texts of the statements of one pool. It belongs to one event loop.
type Library struct {
	// Random gives text that nobody can guess, of characters that need no quotes, at most 50 of them.
	Random func() string

	statements map[key]*Statement
	epoch      uint32 // grows when the type of a result may have changed
}

// key is what must be equal for two clients to share a statement: who they are and what of their settings changes the
// meaning of a text (the scope), and the text with the types of its parameters.
type key struct{ scope, body string }

// Statement is a Parse message without its name.
type Statement struct {
	key
	name    string // on servers
	holders int    // names of clients that stand for it
	sent    bool   // a server may have it
}

// Len is the number of different statements that clients hold.
func (l *Library) Len() int { return len(l.statements) }

// hold finds or makes a statement, for one more holder.
func (l *Library) hold(scope, body string) *Statement {
	k := key{scope, body}
	st := l.statements[k]
	if st == nil {
		st = &Statement{key: k, name: prefix + l.Random()}
		if l.statements == nil {
			l.statements = map[key]*Statement{}
		}
		l.statements[k] = st
	}
	st.holders++
	return st
}

// release is the end of a hold.
func (l *Library) release(st *Statement) {
	st.holders--
	if st.holders == 0 {
		delete(l.statements, st.key)
		st.body = "" // a server's book may go on naming it
	}
}

// ours reports whether a client's name looks like one of ours: such a name is nobody's.
func ours(name []byte) bool {
	return len(name) >= len(prefix) && string(name[:len(prefix)]) == prefix
}

// short is as much of a client's name as counts.
func short(name []byte) []byte { return name[:min(len(name), maxName)] }
