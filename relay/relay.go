// Package relay is the state machine of one lease: which bytes of a client go to its server and back, and when the
// transaction is over. It does not know who the client is, where the server came from, or what a socket is: bytes go in,
// and how many of them to forward comes out.
//
// Messages are told apart by their headers (protocol, Message Formats); bodies are neither copied nor read, but for the
// few that decide something: ReadyForQuery, ParameterStatus, ErrorResponse. PostgreSQL alone says where a transaction
// ends, by the status in ReadyForQuery: no SQL is parsed for that, so none can lie. Where the pool has a choice about what
// outlives a transaction (package feature), the texts of Query and Parse are looked at, too.
//
// The one rule: the server may serve somebody else only when every request has had its reply, the last status was "idle",
// and no message is half sent. Where requests and replies cannot be matched for certain, the relay says so (Unsure), and
// the server is closed after its client.
package relay

import (
	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/wire"
)

// maxWhole is the longest ParameterStatus that passes and the longest ErrorResponse that is looked into. A hostile server
// cannot make the proxy collect more than the loop's buffer.
const maxWhole = 16 << 10

// Relay is the state of one lease. Begin starts it; its zero value is an idle server at status "idle".
type Relay struct {
	fromClient int  // bytes of the body under way that the client has still to send
	fromServer int  // the same for the server
	due        int  // ReadyForQuery messages that the server owes
	status     byte // the last ReadyForQuery's; 0 counts as idle
	syncLast   bool // the newest of the due requests is a Sync
	unsynced   bool // extended-protocol messages were sent after the last Sync
	executed   bool // an Execute was among them: the transaction may have ended
	copyIn     bool // the server expects COPY data
	early      bool // the end of a COPY was sent before the server had said that one begins, and ahead does not tell of it
	ahead      ahead
	swallowed  int  // Syncs that were sent and COPY ignores, unless it fails before it gets there
	behind     bool // messages were sent between the end of that COPY and the next Sync
	maybe      int  // those of a COPY that has failed: each may be answered
	probe      uint8
	dropping   bool // the server's message under way is not forwarded
	unsure     bool
	fatal      bool
	notify     bool             // NotificationResponse reaches the client
	single     bool             // one request at a time
	held       bool             // a request waits for the answer to the one before it
	erred      bool             // an error was answered
	readOnly   bool             // 25006 was answered
	instead    *claimpool.Error // of the next 57014
	wiped      bool             // RESET, DISCARD ALL or PREPARE TRANSACTION was answered
	ended      uint32           // answers with status "idle"
	fences     int              // that have not been answered; each stands between two requests
	fencing    bool             // the reply to one of them is next
	installed  bool             // and says that it has done its work
	open       bool             // a fence was sent, and the request behind it has not ended yet
	stopped    bool             // the proxy's own request stands next
	ours       *Known           // requests of the proxy's own; nil: none

	watch    feature.Uses // what FromClient stops in front of
	asking   feature.Uses // of what it has stopped at
	scanned  feature.Uses // what the text looked at last does
	seen     feature.Uses // what the texts of the lease do
	passed   bool         // what it has stopped at may go on
	quiet    bool         // UNLISTEN or DISCARD ALL was answered
	released bool         // something that may have been left on the server was taken away again
	hears    *Hears       // which notifications reach the client, when not all do; nil: none

	book     *prepared.Server // nil: statements pass as they are
	named    bool             // the client's next message is for Rewrite
	unnamed  bool             // the server's unnamed statement is this client's, or there is none
	answered uint32           // ReadyForQuery messages that have come
	acks     uint32           // Parse and Close messages sent since the last request's end
	acked    uint32           // ParseComplete and CloseComplete messages that have come since the last ReadyForQuery
}

// Begin starts a lease. notify lets notifications through, until Hear says more: only where the server is the client's alone. single forwards
// one request at a time, a Query or a batch up to its Sync: where an error changes what the next request may do, it must
// not be on its way already.
func (r *Relay) Begin(notify, single bool) {
	*r = Relay{notify: notify, single: single, book: r.book, ours: r.ours, watch: r.watch, hears: r.hears}
}

// Keep gives the relay the book of the server's statements, for all its leases.
func (r *Relay) Keep(book *prepared.Server) { r.book = book }

// Over reports whether the server is in step, idle and outside of a transaction: it may be released.
func (r *Relay) Over() bool {
	return !r.Busy() && !r.InTransaction() && r.Whole() && r.maybe == 0 && !r.unsure && !r.fatal
}

// InTransaction reports whether the last status was that of an open or failed transaction.
func (r *Relay) InTransaction() bool { return r.status != 0 && r.status != wire.StatusIdle }

// Failed reports whether it was that of a failed transaction.
func (r *Relay) Failed() bool { return r.status == wire.StatusFailed }

// Busy reports whether the server owes a reply.
func (r *Relay) Busy() bool { return r.due > 0 || r.unsynced || r.copyIn }

// Whole reports whether no message is half sent, in either direction.
func (r *Relay) Whole() bool { return r.fromClient == 0 && r.fromServer == 0 }

// Interruptible reports whether the client is not in the middle of a message of the server: only then can it be told
// something else.
func (r *Relay) Interruptible() bool { return r.fromServer == 0 }

// Answering reports whether all that is due is the answers to whole requests: they come without another byte of the
// client.
func (r *Relay) Answering() bool {
	return r.due > 0 && r.fromClient == 0 && !r.unsynced && !r.copyIn && !r.unsure
}

// Held reports, once, whether a request waits in the client's bytes for the answer to the one before it.
func (r *Relay) Held() bool {
	was := r.held
	r.held = false
	return was
}

// Holds reports whether the next request has to wait for an answer. None does where the answer may wait for it: in a batch, whose
// Sync is due even when a Query in it is not answered; in COPY; and where nobody can tell what is due.
func (r *Relay) Holds() bool {
	return r.doubting() || r.single && !r.open && r.due > 0 && !r.unsynced && !r.copyIn && !r.unsure
}

// Named reports whether the client's next message is for Rewrite.
func (r *Relay) Named() bool { return r.named }

// Ready reports whether what was held may go on. Like Holds, it is where the answer may wait for it.
func (r *Relay) Ready() bool {
	if r.named {
		return r.due == 0 || r.copyIn || r.unsure
	}
	return !r.Holds()
}

// Erred reports whether any answer was an error.
func (r *Relay) Erred() bool { return r.erred }

// Copying reports whether the client is sending COPY data.
func (r *Relay) Copying() bool { return r.copyIn }

// Unsynced reports whether a batch of the extended protocol waits for its Sync.
func (r *Relay) Unsynced() bool { return r.unsynced }

// Unsure reports whether requests and replies cannot be matched for certain any more.
func (r *Relay) Unsure() bool { return r.unsure || r.maybe > 0 }

// Ended counts the answers that left the server outside of a transaction: what comes behind each is a new transaction, even
// if the server is not free in between.
func (r *Relay) Ended() uint32 { return r.ended }

// ReadOnly reports whether a write was answered with 25006: the client's own transaction was read-only, or the server is a standby.
func (r *Relay) ReadOnly() bool { return r.readOnly }

// Answered counts the ReadyForQuery messages of the lease.
func (r *Relay) Answered() uint32 { return r.answered }

// Explain says what the client is to get in place of the next 57014: the proxy has cancelled its query.
func (r *Relay) Explain(e *claimpool.Error) { r.instead = e }

// Wiped reports whether the client has run RESET or DISCARD ALL, which take the proxy's own settings away too. A function can
// do the same unseen; whoever does that harms himself.
func (r *Relay) Wiped() bool { return r.wiped }

// Fatal reports whether the server has said FATAL or PANIC: it will close the connection.
func (r *Relay) Fatal() bool { return r.fatal }

// violation is an error in the use of the protocol.
func violation(message string) error {
	return &claimpool.Error{Code: claimpool.CodeProtocolViolation, Message: message}
}
