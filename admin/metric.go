package admin

import "github.com/prometheus/client_golang/prometheus"

// metric is one metric of our own: docs/reference/metrics.md is made from this list.
type metric struct {
	name, kind, help string
	labels           []string
	desc             *prometheus.Desc
}

var metrics []*metric

func declare(name, kind, help string, labels ...string) *metric {
	m := &metric{name, kind, help, labels, prometheus.NewDesc(name, help, labels, nil)}
	metrics = append(metrics, m)
	return m
}

// The metrics. A label never has a value that a stranger or a token has chosen, but for the role, of which a rule has said that it may be.
var (
	buildInfo = declare("claimpool_build_info", "gauge", "What runs; always 1.", "version", "revision", "goversion")
	ready     = declare("claimpool_ready", "gauge", "1 while all listeners take clients in, as GET /readyz says; 0 when the proxy drains.")

	poolInfo    = declare("claimpool_pool_info", "gauge", "A pool and its mode; always 1.", "database", "target", "role", "mode")
	poolServers = declare("claimpool_pool_servers", "gauge",
		"Server connections: active (a client has it), idle, opening.", "database", "target", "role", "state")
	poolPinned = declare("claimpool_pool_pinned_servers", "gauge",
		"Active server connections that stay with their clients between transactions because of what those have left there.", "database", "target", "role")
	poolUnsure = declare("claimpool_pool_unsure_servers", "gauge",
		"Active server connections that stay with their clients because nobody can tell what is still to be answered.", "database", "target", "role")
	poolClients = declare("claimpool_pool_clients", "gauge",
		"Clients that are logged in: active (in a transaction), waiting (for a server connection), idle.", "database", "target", "role", "state")
	poolLongestWait = declare("claimpool_pool_longest_wait_seconds", "gauge",
		"How long the client that waits longest has waited; 0 when nobody waits.", "database", "target", "role")
	poolOldestPin = declare("claimpool_pool_oldest_pin_seconds", "gauge", "Age of the oldest pin; 0 when there is none.", "database", "target", "role")

	poolMaxServers = declare("claimpool_pool_max_servers", "gauge", "The setting pool.size.", "database", "target", "role")
	poolMaxReserve = declare("claimpool_pool_max_reserve_servers", "gauge", "The setting pool.reserve_size.", "database", "target", "role")
	poolMaxPinned  = declare("claimpool_pool_max_pinned_servers", "gauge", "The setting pool.pin_size.", "database", "target", "role")
	poolMaxWaiting = declare("claimpool_pool_max_waiting_clients", "gauge", "The setting pool.queue_length.", "database", "target", "role")
	poolMaxWait    = declare("claimpool_pool_max_wait_seconds", "gauge", "The setting pool.queue_wait.", "database", "target", "role")

	handovers = declare("claimpool_handovers_total", "counter",
		"Uses of a server connection that have begun, by what it took: none (it carried the identity already), first (it had served nobody), renew (same identity, its context or settings put on again), "+
			"reset (same identity, what was left there wiped), switch (another identity's, wiped), reopen (session mode: opened anew as the client asked). Each attempt counts.",
		"database", "target", "role", "kind")
	transactions = declare("claimpool_transactions_total", "counter",
		"Transactions that servers have ended: answers that left a connection outside of a transaction.", "database", "target", "role")
	transactionTime = declare("claimpool_transaction_duration_seconds", "histogram",
		"How long clients had a server connection for a transaction, hand-over included. A pipeline of transactions counts once.", "database", "target", "role")
	queueWait = declare("claimpool_queue_wait_seconds", "histogram",
		"How long clients have waited for a server connection. Those who got one at once are not counted.", "database", "target", "role")
	queueRefusals = declare("claimpool_queue_refusals_total", "counter",
		"Requests that got no server connection: full (pool.queue_length clients waited already), timeout (pool.queue_wait was over).", "database", "target", "role", "reason")
	serversOpened = declare("claimpool_server_connections_opened_total", "counter", "Server connections that were opened.", "database", "target", "role")
	serversFailed = declare("claimpool_server_connection_failures_total", "counter", "Server connections that could not be opened.", "database", "target", "role")
	serversClosed = declare("claimpool_server_connections_closed_total", "counter",
		"Server connections that were closed, by reason, as in the log. A reason that has not come up yet is not shown.", "database", "target", "role", "reason")
	pins         = declare("claimpool_pins_total", "counter", "Server connections that began to stay with their clients.", "database", "target", "role")
	pinTimeouts  = declare("claimpool_pin_timeouts_total", "counter", "Pins that ended at pool.pin_timeout, with their clients.", "database", "target", "role")
	relayedBytes = declare("claimpool_relayed_bytes_total", "counter",
		"Bytes of messages between clients and their servers: to_server, to_client. What the proxy says itself is not counted.", "database", "target", "role", "direction")

	clients     = declare("claimpool_clients", "gauge", "Connections of clients, those that are logging in included.")
	replication = declare("claimpool_replication_connections", "gauge", "Replication connections, which are no pool's.")
	logins      = declare("claimpool_logins_total", "counter",
		"Logins by method (none: over before a rule was chosen) and outcome: accepted, refused (with the class of the SQLSTATE that the client got), left (it went by itself).",
		"method", "outcome", "sqlstate_class")
	loginTime = declare("claimpool_login_duration_seconds", "histogram",
		"How long accepted logins took, from the startup message on, by method.", "method")
	dropped = declare("claimpool_dropped_connections_total", "counter",
		"Connections that were closed without a word because limits.max_clients was passed by far.")
	refusedRequests = declare("claimpool_refused_requests_total", "counter",
		"Requests that got an error of the proxy in place of a server connection, by class of SQLSTATE; the connection went on.", "sqlstate_class")
	endedConnections = declare("claimpool_ended_connections_total", "counter",
		"Clients that were sent away with an error after their login, by class of SQLSTATE. The end of the proxy is not counted.", "sqlstate_class")

	keyFetches = declare("claimpool_key_fetches_total", "counter",
		"Fetches of an issuer's keys (JWKS, with the discovery), by outcome: ok, failed. The label is the issuer's name in the configuration.", "issuer", "outcome")
	keys   = declare("claimpool_keys", "gauge", "Keys of an issuer that were fetched and may be used now.", "issuer")
	keyAge = declare("claimpool_key_age_seconds", "gauge",
		"Time since the last fetch of an issuer's keys that worked. Not shown before the first one.", "issuer")
	signatureRequests = declare("claimpool_signature_cache_requests_total", "counter",
		"Tokens whose signature was looked for among those that are known to be good: hit, miss (it was verified).", "result")
	signatures = declare("claimpool_signature_cache_entries", "gauge", "Tokens whose signatures are known to be good.")

	revocations    = declare("claimpool_revocations", "gauge", "Revocations that are known. Shown with revocation.dsn alone, like the next.")
	revocationsAge = declare("claimpool_revocations_age_seconds", "gauge",
		"Time since the table of revocations was last known to be read to its end. Beyond revocation.stale_after logins are refused. Not shown before the first time.")

	auditEvents   = declare("claimpool_audit_events_total", "counter", "Events of the audit stream: written, lost. Shown with audit.to alone, like the next ones.", "outcome")
	auditQueue    = declare("claimpool_audit_queue_events", "gauge", "Events that wait to be written.")
	auditQueueMax = declare("claimpool_audit_queue_max_events", "gauge", "The setting audit.queue.")
	auditFailing  = declare("claimpool_audit_failing", "gauge", "1 while the audit stream cannot be written.")
)
