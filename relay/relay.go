// Package relay is the state machine of one lease: which bytes of a client go to its server and back, and when the
// transaction is over. It does not know who the client is, where the server came from, or what a socket is: bytes go in,
// and how many of them to forward comes out.
//
// Messages are told apart by their headers (protocol, Message Formats); bodies are neither copied nor read, but for the
// few that decide something: ReadyForQuery, ParameterStatus, ErrorResponse. PostgreSQL alone says where a transaction
// ends, by the status in ReadyForQuery: no SQL is parsed, so none can lie.
//
// The one rule: the server may serve somebody else only when every request has had its reply, the last status was "idle",
// and no message is half sent. Where requests and replies cannot be matched for certain, the relay says so (Unsure), and
// the server is closed after its client.
package relay

import (
	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// maxWhole is the longest ParameterStatus or ErrorResponse that is looked into; a longer one passes unread. A hostile
// server cannot make the proxy collect more than the loop's buffer.
const maxWhole = 16 << 10

// Relay is the state of one lease. Begin starts it; its zero value is an idle server at status "idle".
type Relay struct {
	fromClient int    // bytes of the body under way that the client has still to send
	fromServer int    // the same for the server
	due        int    // ReadyForQuery messages that the server owes
	status     byte   // the last ReadyForQuery's; 0 counts as idle
	syncs      uint64 // the kinds of the due requests, newest in bit 0: 1 is a Sync
	dropping   bool   // the server's message under way is not forwarded
	unsynced   bool   // extended-protocol messages were sent after the last Sync
	copyIn     bool   // the server expects COPY data
	streaming  bool   // COPY in both directions (replication): only the client's end ends it
	unsure     bool
	wiped      bool   // RESET or DISCARD ALL was answered
	ended      uint32 // answers with status "idle"
	fatal      bool
	notify     bool // NotificationResponse reaches the client
}

// Begin starts a lease. notify lets notifications through: only where the server is the client's alone.
func (r *Relay) Begin(notify bool) { *r = Relay{notify: notify} }

// Over reports whether the server is in step, idle and outside of a transaction: it may be released.
func (r *Relay) Over() bool {
	return r.due == 0 && !r.unsynced && !r.InTransaction() && r.Whole() && !r.copyIn && !r.streaming && !r.unsure
}

// InTransaction reports whether the last status was that of an open or failed transaction.
func (r *Relay) InTransaction() bool { return r.status != 0 && r.status != wire.StatusIdle }

// Status is the last transaction status: 'I', 'T' or 'E'.
func (r *Relay) Status() byte {
	if r.status == 0 {
		return wire.StatusIdle
	}
	return r.status
}

// Busy reports whether the server owes a reply.
func (r *Relay) Busy() bool { return r.due > 0 || r.unsynced || r.copyIn || r.streaming }

// Whole reports whether no message is half sent, in either direction.
func (r *Relay) Whole() bool { return r.fromClient == 0 && r.fromServer == 0 }

// Interruptible reports whether the client is not in the middle of a message of the server: only then can it be told
// something else.
func (r *Relay) Interruptible() bool { return r.fromServer == 0 }

// Answering reports whether all that is due is the answers to whole requests: they come without another byte of the
// client.
func (r *Relay) Answering() bool {
	return r.due > 0 && r.fromClient == 0 && !r.unsynced && !r.copyIn && !r.streaming && !r.unsure
}

// Copying reports whether the client is sending COPY data.
func (r *Relay) Copying() bool { return r.copyIn }

// Unsynced reports whether a batch of the extended protocol waits for its Sync.
func (r *Relay) Unsynced() bool { return r.unsynced }

// Unsure reports whether requests and replies cannot be matched for certain any more.
func (r *Relay) Unsure() bool { return r.unsure }

// Ended counts the answers that left the server outside of a transaction: what comes behind each is a new transaction, even
// if the server is not free in between.
func (r *Relay) Ended() uint32 { return r.ended }

// Wiped reports whether the client has run RESET or DISCARD ALL, which take the proxy's own settings away too. A function can
// do the same unseen; whoever does that harms himself.
func (r *Relay) Wiped() bool { return r.wiped }

// Fatal reports whether the server has said FATAL or PANIC: it will close the connection.
func (r *Relay) Fatal() bool { return r.fatal }

// violation is an error in the use of the protocol.
func violation(message string) error {
	return &claimpool.Error{Code: claimpool.CodeProtocolViolation, Message: message}
}
