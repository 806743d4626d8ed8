package claimpool

import "time"

// EventKind says what has happened.
type EventKind string

// The kinds of events that an audit stream records.
const (
	EventLogin      EventKind = "login"      // somebody has logged in
	EventRefusal    EventKind = "refusal"    // a login was refused
	EventEnd        EventKind = "end"        // a connection has ended
	EventRenewal    EventKind = "renewal"    // a client has handed in a fresh token
	EventHandover   EventKind = "handover"   // a server connection went to another identity
	EventRevocation EventKind = "revocation" // somebody was signed out
	EventUndo       EventKind = "undo"       // somebody may come back: a revocation was taken back
	EventCommand    EventKind = "command"    // an administrator has asked for something, or tried to

	EventTransaction EventKind = "transaction" // what a client asked of a server until it gave it back: a transaction, or a pipeline of them
	EventLost        EventKind = "lost"        // events before this one could not be recorded
)

// Outcome is how a transaction has ended.
type Outcome string

// The outcomes.
const (
	OutcomeCommit   Outcome = "commit"
	OutcomeRollback Outcome = "rollback" // the client wanted that
	OutcomeError    Outcome = "error"    // rolled back after an error, or failed in its commit
	OutcomePrepared Outcome = "prepared" // by PREPARE TRANSACTION
	OutcomeUnknown  Outcome = "unknown"  // its connection has ended before PostgreSQL had said
)

// Event is one record of an audit stream. It never holds a token, a password, or a claim but the subject.
type Event struct {
	Kind     EventKind
	Client   uint64 // the number of the connection; 0: none
	Addr     string
	Database string
	User     string    // the name that was asked for
	Identity *Identity // nil before anybody is proved
	Issuer   string    // where there is no identity
	Subject  string    // where there is no identity
	Token    Mark      // where there is no identity: what was revoked
	Server   uint32    // the server's process id; 0: none
	Code     Code      // what the client received, or of a transaction the error that has ended it; empty: none
	Reason   string
	Held     time.Duration

	// Of EventTransaction.
	Pool         string // database/role
	Outcome      Outcome
	Transactions uint32 // how many they were
	Rows         uint64 // read and written by all of them, as PostgreSQL's command tags say
}

// Auditor keeps events. An error means that one could not be kept, and that what it tells of must not happen.
type Auditor interface {
	Record(*Event) error
}
