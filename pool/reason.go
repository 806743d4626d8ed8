package pool

// Reason says why a server connection is not used again. When unsure, close: every doubt has its own reason, so that an
// operator can see which one costs connections.
type Reason uint8

// The reasons.
const (
	Keep           Reason = iota // no reason: it goes back to the idle ones
	IdleTimeout                  // idle for too long
	Lifetime                     // too old
	Shrunk                       // more servers than the pool may have
	Isolated                     // strict isolation: it has served another identity
	Reconfigured                 // the configuration has changed, or the proxy is stopping
	ServerClosed                 // PostgreSQL closed it, or the network did
	ServerError                  // it said something that a server cannot say at that point
	CheckFailed                  // no sign of life in time
	HandoverFailed               // a step of the hand-over did not get its answer
	LeftInQuery                  // its client left while a request had no complete answer
	LeftInCopy                   // its client left in the middle of COPY
	LeftInMessage                // its client left in the middle of a message
	LeftUnsynced                 // its client left without the Sync that ends a batch
	RollbackFailed               // the transaction that its client left open did not roll back at once
	OutOfStep                    // requests and answers could not be matched for certain
	CancelUnsure                 // a cancel request may still be on its way to it
	TokenExpired                 // its client's proof ran out in the middle of a transaction
	NotAllowed                   // its client did what the pool mode does not allow
	SessionOver                  // session mode: its session has left what no reset takes away, such as a schema for temporary objects
	HostChanged                  // its host is not the one to use any more: another primary, another address, or out of reach
	OtherSettings                // session mode: it was opened with the settings of other clients
	ClockSet                     // the machine's clock was set: the difference to the server's clock is not known any more
	reasonCount
)

var reasonNames = [reasonCount]string{
	"keep", "idle_timeout", "lifetime", "pool_shrunk", "isolated", "reconfigured", "server_closed", "server_error",
	"check_failed", "handover_failed", "left_in_query", "left_in_copy", "left_in_message", "left_unsynced",
	"rollback_failed", "out_of_step", "cancel_unsure", "token_expired", "not_allowed", "session_over",
	"host_changed", "other_settings", "clock_set",
}

// String is the reason's name in logs and metrics.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonNames[r]
	}
	return "unknown"
}
