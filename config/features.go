package config

// Features say what becomes of that which outlives a transaction where server connections are shared. allow: it stays on the server
// connection, where other clients of the same identity may find it. refuse: it is an error. pin: the server connection stays with
// the client until PostgreSQL says that nothing is left; see pin_size and pin_timeout.
type Features struct {
	// LISTEN. shared: a connection of the proxy's own listens for all clients of the pool. With a context, clients may listen to the channels
	// of databases.NAME.channels only, also with pin and allow.
	Listen string `yaml:"listen" values:"shared|pin|refuse|allow"`

	// Advisory locks of the session: pg_advisory_lock() and pg_try_advisory_lock().
	AdvisoryLocks string `yaml:"advisory_locks" values:"pin|refuse|allow"`

	// CREATE TEMPORARY …, unless it says ON COMMIT DROP.
	TemporaryTables string `yaml:"temporary_tables" values:"pin|refuse|allow"`

	// Cursors that are declared WITH HOLD.
	WithHold string `yaml:"with_hold" values:"pin|refuse|allow"`

	// SET, but for SET LOCAL. follow: the setting goes with the client to its next server connections. Settings that PostgreSQL reports
	// to clients, such as application_name, always do.
	Set string `yaml:"set" values:"follow|pin|refuse|allow"`

	// SQL's PREPARE. refuse: outside of a transaction. What is prepared with the extended protocol goes with the client in any case.
	Prepare string `yaml:"prepare" values:"pin|refuse|allow"`
}
