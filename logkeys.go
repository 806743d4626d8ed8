package claimpool

// The closed list of log keys. A log line uses these and no others, so that a search finds everything and nothing
// unexpected (a token, a claim) can slip in under a new name.
const (
	LogClient   = "client"   // the number of the client connection
	LogAddr     = "addr"     // the client's address
	LogDB       = "db"       // the database asked for
	LogRole     = "role"     // the permanent database role
	LogMethod   = "method"   // how the identity was proved
	LogIdentity = "identity" // subject@issuer
	LogIssuer   = "iss"      // the token's issuer
	LogKID      = "kid"      // the key that verified the token
	LogPool     = "pool"     // database/role
	LogServer   = "server"   // the server's process id
	LogSQLState = "sqlstate" // the code that the client received
	LogReason   = "reason"   // why something ended or was refused
	LogWait     = "wait"     // how long a client waited
	LogHeld     = "held"     // how long something was held
	LogErr      = "err"      // the text of an error

	// In the audit stream alone.
	LogEvent     = "event"      // see EventKind
	LogUser      = "user"       // the name that was asked for
	LogRule      = "rule"       // the rule that let somebody in
	LogSubject   = "sub"        // the subject
	LogTokenHash = "token_hash" // what the token can be revoked by; see Mark
	LogOutcome   = "outcome"    // how a transaction has ended; see Outcome
	LogRows      = "rows"       // how many rows it has read and written
	LogLost      = "lost"       // how many events were not recorded

	LogTransactions = "transactions" // how many they were, when more than one
)
