// Package config declares, reads, checks and explains the settings of the proxy: the structs of this package are their only
// source, and the file format, the checks, "claimpool explain" and docs/reference/settings.md follow from them.
// It does not know the running state, and it never holds a secret, only the place where one is kept.
package config

import (
	"net/netip"
	"time"
)

// How a field becomes a setting:
//
//	comment   the manual ("The first sentence names the thing …")
//	yaml      the key
//	reload    yes: SIGHUP applies it; no: needs a restart. Inherited by everything below.
//	values    the allowed words, separated by |
//	bounds    the allowed range, both ends included: "1..100", "1s..", "..1h"
//	path      a file: made absolute against the folder of the configuration file
//	short     a scalar in place of the whole group sets this field (listen: 127.0.0.1:6432)
//
// A list accepts a single value in place of a list of one. Durations carry a unit. Defaults stand in defaults.go.

// Config is the whole configuration file.
type Config struct {
	// The certificate that the proxy shows to clients. Without it clients cannot use TLS, and tokens are refused on TCP
	// unless a rule says "tls: any". The files are read again when they change.
	TLS TLS `yaml:"tls" reload:"yes"`

	// Where the proxy listens for clients. A single address may be written without the list.
	Listen []Listener `yaml:"listen" reload:"no"`

	// The issuers of tokens, by a name of your choice that rules refer to. Two issuers must not have the same "iss".
	Issuers map[string]Issuer `yaml:"issuers" reload:"yes"`

	// The private keys that open encrypted tokens (JWE: RSA-OAEP-256 or ECDH-ES, with A256GCM), of all issuers; several
	// while they are rotated. What is inside must be signed by an issuer, like any token. Files are read again when they change.
	DecryptionKeys []DecryptionKey `yaml:"decryption_keys" reload:"yes"`

	// The passwords of clients that log in without a token, in the format of PgBouncer's userlist.txt
	// (lines of "user" "password", where the password may be an md5 hash or a SCRAM verifier). Read again when it changes.
	UsersFile string `yaml:"users_file" reload:"yes" path:"yes"`

	// Who may log in, and how. The first rule that matches the database, the user, the address and the use of TLS decides
	// alone: when its method refuses, later rules are not tried. A client that no rule matches is refused.
	Rules []Rule `yaml:"rules" reload:"yes"`

	// The rules in the format of PostgreSQL's pg_hba.conf, in place of "rules".
	HBAFile string `yaml:"hba_file" reload:"yes" path:"yes"`

	// Which users the holders of certificates, and the users of this machine, may be, like PostgreSQL's pg_ident.conf.
	UserMaps []UserMap `yaml:"user_maps" reload:"yes"`

	// The settings of all pools. A database may override each of them under its own "pool".
	Pool Pool `yaml:"pool" reload:"yes"`

	// The databases that clients may ask for, by the name that clients use. "*" stands for all that are not listed: they are
	// at its hosts under their own names, unless it has a "dbname", and it has neither a context, nor "jit", nor "lookup".
	Databases map[string]Database `yaml:"databases" reload:"yes"`

	// Where clients may name the tenant of a database, as with Supavisor. user: behind the last dot of the user name, as in
	// postgres.TENANT or postgres.cluster.TENANT; the rest is the user. options: as options=reference=TENANT. sni: the host name that their TLS asks for begins
	// with it, as in TENANT.db.example.com. A client that names none means the database that it asks for.
	TenantsBy []string `yaml:"tenants_by" reload:"yes" values:"user|options|sni"`

	// The claim that names the tenant of a token, such as tenant_id (of the claims that the database sees). A token of a tenant that has a
	// database gets that one, whatever database its client asks for, and no other tenant's; a token without the claim, or of a tenant that
	// has none, gets no tenant's. Clients without a token are not bound by it. Empty: only the rules say who may have which database.
	TenantClaim string `yaml:"tenant_claim" reload:"yes"`

	// Bounds that keep one client, or many, from taking everything.
	Limits Limits `yaml:"limits" reload:"yes"`

	// Who is signed out before the end of his token, for all proxies.
	Revocation Revocation `yaml:"revocation" reload:"no"`

	// An endpoint for administrators and their programs, by HTTP: to revoke, and to see what is revoked.
	Admin Admin `yaml:"admin" reload:"no"`

	// A database that is none: there administrators see and steer the proxy, with psql or any driver.
	Console Console `yaml:"console" reload:"yes"`

	// Where issuers tell of logouts (OpenID Connect Back-Channel Logout), by HTTP.
	Logout Logout `yaml:"logout" reload:"no"`

	// How repeated failed logins are slowed down.
	Throttle Throttle `yaml:"throttle" reload:"yes"`

	// Who did what: logins, refusals, fresh tokens, revocations, one line of JSON for each.
	Audit Audit `yaml:"audit" reload:"no"`

	// What is logged, and how. Logs go to standard error.
	Log Log `yaml:"log" reload:"yes"`

	// How often the files named here (keys, certificates, users) are looked at for changes.
	WatchInterval time.Duration `yaml:"watch_interval" reload:"no" bounds:"100ms..1h"`

	// The number of event loops, that is, of processor cores that move bytes. 0 chooses by the number of cores.
	Loops int `yaml:"loops" reload:"no" bounds:"0..256"`

	// How event loops talk to the kernel. io_uring takes less processor time; it is known to work on Linux 6.18, older ones lack
	// something that it needs, and containers often forbid it. auto tries it, and takes epoll where it does not work; the log says which.
	Poller string `yaml:"poller" values:"auto|io_uring|epoll" reload:"no"`

	file string              // where it was read from; empty when it was made in memory
	at   map[string]position // where each key stood in the file, for messages
}

// Listener is one address to listen on.
type Listener struct {
	// The address: "127.0.0.1:6432", "[::1]:6432", ":6432" for all interfaces, or "unix:" and the path of a socket,
	// as in "unix:/run/claimpool/.s.PGSQL.6432".
	Address string `yaml:"address" short:"yes"`

	// What differs from the top-level "tls" for this address.
	TLS TLS `yaml:"tls" reload:"yes"`

	// The addresses of load balancers, as "10.0.0.0/8". Their connections must begin with a header of the PROXY protocol,
	// version 1 or 2, and the client address that it names counts for rules, limits and logs; where it names none, that of the load
	// balancer, but such a client is not one of this machine (method trust). From elsewhere no such header is taken.
	ProxyProtocol []netip.Prefix `yaml:"proxy_protocol"`
}

// TLS is a certificate and how to use it with clients.
type TLS struct {
	// The certificate chain, PEM, the proxy's own certificate first.
	CertFile string `yaml:"cert_file" path:"yes"`

	// The private key of the certificate, PEM.
	KeyFile string `yaml:"key_file" path:"yes"`

	// The certificates that sign those of clients, PEM. Clients are then asked for one; whoever shows one that is not signed by them is
	// turned away. Rules say who must show one.
	ClientCAFile string `yaml:"client_ca_file" path:"yes"`

	// The lists of certificates that these authorities have taken back (CRL), PEM, one after the other, like PostgreSQL's ssl_crl_file. A client
	// that shows a certificate is then turned away when it is on such a list, or when there is no list of its issuer that is good now.
	ClientCRLFile string `yaml:"client_crl_file" path:"yes"`

	// The oldest version of TLS that is accepted.
	MinVersion string `yaml:"min_version" values:"1.2|1.3"`
}

// Enabled reports whether there is a certificate at all.
func (t TLS) Enabled() bool { return t.CertFile != "" || t.KeyFile != "" }

// Issuer is who signs tokens, and what a token must say to be accepted.
type Issuer struct {
	// The exact value of the claim "iss"; "-" for tokens without one. With "discovery" it may be left out.
	Issuer string `yaml:"issuer"`

	// The accepted audiences: the claim "aud" must contain at least one of them. "*" alone accepts every token of the
	// issuer, also those that it made for other services.
	Audience []string `yaml:"audience"`

	// The keys that verify the signatures. Several files may be named, and one file may hold several keys, so that keys can
	// overlap while they are rotated. Files are read again when they change.
	Keys []KeyFile `yaml:"keys"`

	// In place of keys: the issuer's description of itself (OpenID Connect Discovery), by the issuer's exact name. https://id.example.com
	// stands for https://id.example.com/.well-known/openid-configuration. The keys that it names are fetched and kept up to date.
	Discovery string `yaml:"discovery"`

	// In place of keys: the address of the issuer's key set (JWKS). The keys are fetched and kept up to date.
	JWKSURL string `yaml:"jwks_url"`

	// In place of keys: the issuer is asked about each token (RFC 7662). For tokens that are no JWT, or that can be taken back.
	Introspection Introspection `yaml:"introspection"`

	// The algorithms that fetched keys may be used with. Empty: what the key set says, else all that fit the kind of key.
	// Secrets are never fetched.
	Algorithms []string `yaml:"algorithms" values:"EdDSA|ES256|ES384|ES512|RS256|RS384|RS512|PS256|PS384|PS512"`

	// How keys are fetched, with discovery or jwks_url.
	Fetch Fetch `yaml:"fetch"`

	// The accepted values of the token's header "typ"; "" stands for a token without one. Empty: none, JWT and at+jwt.
	Types []string `yaml:"types"`

	// How far the issuer's clock may differ from ours when "exp", "nbf" and "iat" are checked.
	Leeway time.Duration `yaml:"leeway" bounds:"0s..5m"`

	// The longest life of an accepted token, from "iat" (or from now, when there is none) to "exp". 0 sets no bound.
	MaxLifetime time.Duration `yaml:"max_lifetime" bounds:"0s.."`

	// Claims that must be present besides "iss", "aud" and "exp".
	RequiredClaims []string `yaml:"required_claims"`

	// The claim that names the person, in place of "sub".
	SubjectClaim string `yaml:"subject_claim"`

	// Which database role a token may use.
	Role RoleRule `yaml:"role"`

	// Expressions (CEL) over the token's claims that must all be true, such as "claims.email_verified" or
	// "claims.org.plan in ['pro', 'team']". A claim that is not there makes its expression fail, unless has(claims.org.plan) asks first.
	Conditions []string `yaml:"conditions"`

	// An expression (CEL) that gives the claims that the database sees, such as "{'sub': claims.sub, 'tenant_id': claims.org.id}".
	// Empty: all of them.
	Context string `yaml:"context"`

	// What its logout tokens must say; for the top-level "logout".
	Logout IssuerLogout `yaml:"logout"`
}

// KeyFile is a file with keys that verify signatures.
type KeyFile struct {
	// A PEM public key or X.509 certificate, a JWK, a JWKS, or a secret for HS256, HS384 and HS512 (then "algorithms" is
	// needed, and nobody else may be able to read the file).
	File string `yaml:"file" path:"yes" short:"yes"`

	// The name of an environment variable that holds a public key, PEM or JWK, in place of a file.
	Env string `yaml:"env"`

	// The algorithms that the keys of this file may be used with. Empty: what the file says, else all that fit the kind of
	// key; secrets always need it.
	Algorithms []string `yaml:"algorithms" values:"EdDSA|ES256|ES384|ES512|RS256|RS384|RS512|PS256|PS384|PS512|HS256|HS384|HS512"`

	// The key's name, when the file does not say it: it is compared with the token's "kid".
	KID string `yaml:"kid"`
}

// DecryptionKey is a private key that opens encrypted tokens.
type DecryptionKey struct {
	// A PEM private key (RSA, or of a curve P-256, P-384 or P-521) or a private JWK, which nobody else may read.
	File string `yaml:"file" path:"yes" short:"yes"`

	// The key's name, when the file does not say it: it is compared with the encrypted token's "kid".
	KID string `yaml:"kid"`
}

// Introspection is how an issuer is asked about its tokens (RFC 7662).
type Introspection struct {
	// The address to ask, https (http on loopback addresses). Empty: the issuer is not asked.
	URL string `yaml:"url"`

	// The name under which the issuer knows the proxy.
	ClientID string `yaml:"client_id"`

	// Where the secret is that belongs to client_id.
	ClientSecret Secret `yaml:"client_secret"`

	// How long the issuer may take for one answer. A login that gets none is refused, and no failure is counted.
	Timeout time.Duration `yaml:"timeout" bounds:"100ms..1m"`

	// How long the answer about a good token may be kept. A token that is taken back may be used for as long. 0: the issuer is asked
	// at each login.
	Cache time.Duration `yaml:"cache" bounds:"0s..1h"`

	// How long a login counts whose answer has no "exp". 0: such tokens are refused.
	Lifetime time.Duration `yaml:"lifetime" bounds:"0s..24h"`

	// The certificates that sign the issuer's web server's, PEM. Empty: those of the operating system.
	CAFile string `yaml:"ca_file" path:"yes"`
}

// Fetch is how an issuer's keys are fetched. Proxies come from the environment: HTTPS_PROXY and NO_PROXY.
type Fetch struct {
	// The longest time between two fetches. The issuer's Cache-Control can shorten it, down to 30s.
	Interval time.Duration `yaml:"interval" bounds:"10s..24h"`

	// The least time between two fetches because of a token whose key nobody knows. A login waits up to 3s for such a fetch.
	UnknownKIDInterval time.Duration `yaml:"unknown_kid_interval" bounds:"1s..1h"`

	// How long the last keys are used when no fetch works any more. A key that the issuer removes during an outage
	// is accepted for as long.
	StaleAfter time.Duration `yaml:"stale_after" bounds:"10s..720h"`

	// How long one fetch may take, with its discovery.
	Timeout time.Duration `yaml:"timeout" bounds:"100ms..1m"`

	// The certificates that sign the issuer's web server's, PEM. Empty: those of the operating system.
	CAFile string `yaml:"ca_file" path:"yes"`

	// The certificates that sign the keys' own ("x5c" in the key set), PEM. With it keys without such a certificate are left
	// out; without it certificates of keys are not looked at.
	X5CCAFile string `yaml:"x5c_ca_file" path:"yes"`
}

// RoleRule says which database role a token may use.
type RoleRule struct {
	// Where the role comes from. sub: from the subject, which must be the requested user. claim: from the claim named by
	// "claim", which must hold the requested user (or one role only, when the subject is requested). expression: the same with what
	// "expression" gives. fixed: it is "value"; the requested user must be it or the subject.
	From string `yaml:"from" values:"sub|claim|expression|fixed" short:"yes"`

	// The claim that holds the role, or a list of roles; for "from: claim". A name, or a JSON Pointer that begins with "/".
	Claim string `yaml:"claim"`

	// An expression (CEL) that gives the role or a list of roles, of claims, subject and user (the name that is asked for), such as
	// "'dba' in claims.groups ? ['app_admin', 'app_user'] : ['app_user']"; for "from: expression".
	Expression string `yaml:"expression"`

	// The role; for "from: fixed".
	Value string `yaml:"value"`

	// The roles that may come out. Needed with "from: claim" and "from: expression"; with "from: sub" empty allows all.
	Allow []string `yaml:"allow"`
}

// Pool is how server connections are shared by the clients of one database and role.
type Pool struct {
	// When a server connection goes back to the pool. session: when the client leaves. transaction: after each
	// transaction. statement: after each statement, and transaction blocks are refused.
	Mode string `yaml:"mode" values:"session|transaction|statement"`

	// The most server connections for one database and role.
	Size int `yaml:"size" bounds:"1..100000"`

	// The number of server connections to keep open when nobody needs them.
	MinSize int `yaml:"min_size" bounds:"0..100000"`

	// The number of further server connections that may be opened when clients have waited for reserve_after.
	ReserveSize int `yaml:"reserve_size" bounds:"0..100000"`

	// How long the first client in the queue must have waited before the reserve is used.
	ReserveAfter time.Duration `yaml:"reserve_after" bounds:"0s.."`

	// The most clients that may wait for a server connection; the next one is refused.
	QueueLength int `yaml:"queue_length" bounds:"0..1000000"`

	// How long a client may wait for a server connection before it is refused.
	QueueWait time.Duration `yaml:"queue_wait" bounds:"1ms..1h"`

	// How long a client waits for a server connection before it is told so, with a notice (SQLSTATE 00000). 0: it is not told.
	QueueNotice time.Duration `yaml:"queue_notice" bounds:"0s.."`

	// Who gets an equal part of the pool when clients have to wait: those with the same value of this claim of their tokens,
	// for example tenant_id. Empty: each identity for itself.
	ShareBy string `yaml:"share_by"`

	// The most server connections that one part, see share_by, may use at the same time. 0: no limit but size.
	ShareSize int `yaml:"share_size" bounds:"0..100000"`

	// How long a server connection may be unused before it is closed. 0: for ever.
	IdleTimeout time.Duration `yaml:"idle_timeout" bounds:"0s.."`

	// How old a server connection may become before it is closed at the next release. 0: any age.
	Lifetime time.Duration `yaml:"lifetime" bounds:"0s.."`

	// How long opening a server connection may take, with TLS and login, for each host.
	ConnectTimeout time.Duration `yaml:"connect_timeout" bounds:"10ms..10m"`

	// How long a host that could not be reached is left alone while another one will do.
	LoginRetry time.Duration `yaml:"login_retry" bounds:"0s..1h"`

	// How often each host of a database is logged in to, to see whether it is up and whether it is a primary: where there are
	// several addresses, or target_session_attrs. The time varies by a tenth. 0: never; then only new server connections tell.
	HostCheckInterval time.Duration `yaml:"host_check_interval" bounds:"0s..1h"`

	// How long the addresses of a host's name are believed. When they have changed, server connections to addresses that are gone
	// are closed as soon as they are free.
	DNSTTL time.Duration `yaml:"dns_ttl" bounds:"1s..1h"`

	// How long clients wait for a server, within queue_wait, while none can be reached, as during a fail-over.
	// 0: they are refused at once.
	FailoverWait time.Duration `yaml:"failover_wait" bounds:"0s..1h"`

	// A server connection that has been unused for this long is asked for a sign of life before a client gets it.
	// 0: always.
	CheckAfter time.Duration `yaml:"check_after" bounds:"0s.."`

	// The most prepared statements on one server connection, in the modes transaction and statement. Beyond it the one unused for
	// longest is closed there; a client that needs it again does not notice.
	ServerStatements int `yaml:"server_statements" bounds:"1..100000"`

	// The most named prepared statements of one client, in the modes transaction and statement. The next one is refused.
	ClientStatements int `yaml:"client_statements" bounds:"0..1000000"`

	// The most KiB that the named prepared statements of one client may take, their texts and 200 bytes for each: the proxy
	// keeps them while the client is connected. Clients of one identity share equal texts. The next statement is refused.
	ClientStatementsKiB int `yaml:"client_statements_kib" bounds:"0..1048576"`

	// What two identities may share. shared: a server connection, after a verified reset. strict: none; each identity gets
	// new server connections (needed where the role may create functions or temporary objects, or use PL/Perl or PL/Python).
	// off: everything; a server connection goes from one identity to another with no reset, and only where the database has
	// no context. What one client leaves on it, the next one finds.
	Isolation string `yaml:"isolation" values:"shared|strict|off"`

	// What becomes of that which outlives a transaction, in the modes transaction and statement.
	Features Features `yaml:"features"`

	// The most server connections of one pool that clients may keep between two transactions, see features. The next statement that needs
	// it is refused. 0: half of the size, and at least one.
	PinSize int `yaml:"pin_size" bounds:"0..100000"`

	// How long a client may keep a server connection in this way without using it before both are closed. 0: for ever.
	PinTimeout time.Duration `yaml:"pin_timeout" bounds:"0s.."`
}

// Database is one database and the way to it.
type Database struct {
	// The PostgreSQL servers, see load_balance_hosts for their order: "db.example.com:5432", "[::1]:5432", or a folder with unix sockets,
	// "/var/run/postgresql" or "/var/run/postgresql:5433". Without a port: 5432.
	Hosts []string `yaml:"hosts"`

	// Which of the hosts will do, with libpq's meaning. any: each. primary: none in recovery. read-write: the same, and transactions
	// may write by default. standby: in recovery. read-only: in recovery, or transactions may not write by default.
	// prefer-standby: in recovery, and any when there is none. Each address of a host's name is a server of its own.
	TargetSessionAttrs string `yaml:"target_session_attrs" values:"any|read-write|read-only|primary|standby|prefer-standby"`

	// The order in which the hosts that will do are tried. disable: as they are written, all connections to the first that is up.
	// random: anew for each server connection. round-robin: each server connection begins one further.
	LoadBalanceHosts string `yaml:"load_balance_hosts" values:"disable|random|round-robin"`

	// Other choices among the servers, by names that clients put behind ".cluster." in their user name, as in anna.cluster.reads. The client
	// is the user in front of it, for the rules and for PostgreSQL; only the server is another. Each choice has pools of its own, with the
	// settings of the database's. Without such a name clients get what the database says.
	Targets map[string]Target `yaml:"targets"`

	// The name of the database at the server. Empty: the name that clients use.
	DBName string `yaml:"dbname"`

	// How the connection to the server is protected.
	TLS ServerTLS `yaml:"tls"`

	// The one role that all server connections use. Empty: the role of the client's identity.
	Role string `yaml:"role"`

	// Where the password for the server is, when all roles have the same, or "role" is set.
	Password Secret `yaml:"password"`

	// Where the passwords for the server are, by role. They win over "password".
	Passwords map[string]Secret `yaml:"passwords"`

	// How the passwords of clients are looked up at the server, for rules with "passwords: server".
	Lookup Lookup `yaml:"lookup"`

	// How claims reach the database.
	Context Context `yaml:"context"`

	// Just-in-time access: an API that judges tokens, at each login.
	JIT JIT `yaml:"jit"`

	// The name of a tenant whose clients mean this database, whatever database they ask for; see "tenants_by" and "tenant_claim".
	Tenant string `yaml:"tenant"`

	// Settings for every server connection, such as "search_path: app" or "statement_timeout: 30s". They become the
	// session's defaults, which clients may change for themselves as far as PostgreSQL lets them.
	Parameters map[string]string `yaml:"parameters"`

	// Who may have replication connections (the startup parameter "replication"). refuse: nobody. allow: clients without claims.
	// allow-with-claims: all. Each gets a server connection of its own, outside of the pool. Through it everything can be read, whatever
	// policies say; PostgreSQL asks for a role with REPLICATION.
	Replication string `yaml:"replication" values:"refuse|allow|allow-with-claims"`

	// The most replication connections.
	MaxReplication int `yaml:"max_replication" bounds:"1..10000"`

	// The channels that clients may listen to, as templates such as "tenant_${tenant_id}_*": the claim's value of the client's token
	// stands for ${…}, and * for any text without the characters next to it. A claim whose value has such a character in it gives nothing.
	// Empty: all where there is no context; where there is one, none, but all in session mode.
	Channels []string `yaml:"channels"`

	// The channels that clients may send notifications on (NOTIFY, pg_notify), as templates like those of "channels". A guard against
	// mistakes in the modes transaction and statement, not a boundary: it reads the texts of statements, and a function can send unseen.
	// Empty: all.
	SendChannels []string `yaml:"send_channels"`

	// What differs from the top-level "pool" for this database.
	Pool Pool `yaml:"pool"`
}

// ServerTLS is how a connection to a server is protected; the modes are those of libpq's sslmode.
type ServerTLS struct {
	// disable, prefer, require, verify-ca or verify-full as in libpq. auto: verify-full, but prefer for loopback addresses.
	// There is never TLS on unix sockets.
	Mode string `yaml:"mode" values:"auto|disable|prefer|require|verify-ca|verify-full" short:"yes"`

	// The certificates that sign the server's, PEM. Empty: those of the operating system.
	CAFile string `yaml:"ca_file" path:"yes"`

	// Our own certificate, for servers that ask for one, PEM.
	CertFile string `yaml:"cert_file" path:"yes"`

	// The private key of cert_file, PEM.
	KeyFile string `yaml:"key_file" path:"yes"`
}

// Context is how claims reach the database.
type Context struct {
	// none: they do not. sql: through the functions of "claimpool db install", for any PostgreSQL. native: through the
	// claimpool extension.
	Dialect string `yaml:"dialect" values:"none|sql|native" short:"yes"`

	// The key that seals the claims, as "claimpool db install --key-file" wrote it (sql) or "claimpool db native-key" (native).
	// Read again when it changes.
	KeyFile string `yaml:"key_file" path:"yes"`

	// How long after it was handed over a context may begin to be used by a transaction; for the dialect sql.
	Window time.Duration `yaml:"window" bounds:"1s..1m"`
}

// JIT is just-in-time access to a database: clients log in with a token in place of the password, and an API says at each login
// whether the token is good.
type JIT struct {
	// The address of the API, https (http on loopback addresses). It is asked by POST with the token as bearer and
	// {"rhost":"CLIENT ADDRESS","role":"USER"}, and answers as Supavisor's does. Empty: there is no just-in-time access.
	APIURL string `yaml:"api_url" short:"yes"`

	// How long the API may take for one answer. A client that gets none is refused with XX000, and no failure is counted.
	Timeout time.Duration `yaml:"timeout" bounds:"100ms..1m"`

	// The longest time that one answer counts; then the connection ends as if its token had. 0: until the answer's "expires_at",
	// or the token's own "exp".
	Lifetime time.Duration `yaml:"lifetime" bounds:"0s.."`

	// Whether a server that asks for a cleartext password, as with PAM, gets a client's token in place of the configured password.
	// never: it does not. cleartext: the one of the latest login, while its client is connected. A server connection serves
	// other clients of the same role later.
	HandOn string `yaml:"hand_on" values:"never|cleartext"`

	// The certificates that sign the API's, PEM. Empty: those of the operating system.
	CAFile string `yaml:"ca_file" path:"yes"`
}

// Limits are bounds that keep one client, or many, from taking everything.
type Limits struct {
	// The most client connections; the next one is refused.
	MaxClients int `yaml:"max_clients" bounds:"1..1000000"`

	// The most client connections for one database. 0: no limit but max_clients. This limit and the three below count the
	// clients that have come since it was set, and those that have said goodbye until their last request is answered.
	ClientsPerDatabase int `yaml:"clients_per_database" bounds:"0..1000000"`

	// The most client connections for one database role. 0: no limit but max_clients.
	ClientsPerRole int `yaml:"clients_per_role" bounds:"0..1000000"`

	// The most client connections of one identity: the same issuer, subject, role and claims, those of a fresh token
	// included. 0: no limit but max_clients.
	ClientsPerIdentity int `yaml:"clients_per_identity" bounds:"0..1000000"`

	// The most client connections from one address, or one network /64 of IPv6, logins included. 0: no limit but max_clients.
	ClientsPerAddress int `yaml:"clients_per_address" bounds:"0..1000000"`

	// The most logins that are worked on at the same moment. Further clients wait to be accepted, so that a storm of logins
	// cannot take all memory and processors. A client that keeps the proxy waiting does not count.
	MaxLogins int `yaml:"max_logins" reload:"no" bounds:"1..100000"`

	// How long a client may take from its first byte to the end of its login.
	LoginTimeout time.Duration `yaml:"login_timeout" bounds:"100ms..10m"`

	// How long a client may be connected without a transaction before it is disconnected. 0: for ever.
	IdleTimeout time.Duration `yaml:"idle_timeout" bounds:"0s.."`

	// How long the server may take for a query, or for a batch of the extended protocol with what its client takes to send it. Then it
	// is cancelled (57014); when that does not help within cancel_timeout, client and server connection are closed. 0: for ever.
	// This time and the two below are looked at once a second.
	QueryTimeout time.Duration `yaml:"query_timeout" bounds:"0s.."`

	// How long a transaction may take, the hand-over of its server connection included, before its client and its server
	// connection are disconnected (25P04). 0: for ever.
	TransactionTimeout time.Duration `yaml:"transaction_timeout" bounds:"0s.."`

	// How long a request to cancel may take to reach PostgreSQL, and a query to end after query_timeout, before the server connection
	// is closed.
	CancelTimeout time.Duration `yaml:"cancel_timeout" bounds:"10ms..10m"`

	// How long a client may be idle inside a transaction, where it holds a server connection, before both are closed. The same for one that
	// holds it because it has mixed the two protocols, so that nobody can tell what is still to be answered. 0: for ever.
	TransactionIdleTimeout time.Duration `yaml:"transaction_idle_timeout" bounds:"0s.."`

	// How long a connection stays when its token has ended. In that time it gets no transaction, but may hand in a fresh
	// token (SET jwt.context = '…'). 0: it is closed at once.
	TokenGrace time.Duration `yaml:"token_grace" bounds:"0s..1h"`

	// How long before the end of its token a client is told so, with a notice (SQLSTATE 01000) that comes between its
	// requests. 0: never.
	TokenWarning time.Duration `yaml:"token_warning" bounds:"0s..1h"`

	// How long a running transaction may outlive its client's token before it is ended, also when the client has said goodbye behind it.
	// 0: as long as it takes.
	TokenOverrun time.Duration `yaml:"token_overrun" bounds:"0s.."`

	// How long the proxy waits for running transactions after SIGTERM before it ends.
	DrainTimeout time.Duration `yaml:"drain_timeout" bounds:"0s..24h"`
}

// Throttle is how repeated failed logins are slowed down, counted by client address and by user.
type Throttle struct {
	// How many logins may fail within the window before further ones are refused unseen. 0: never throttle.
	Failures int `yaml:"failures" bounds:"0..1000000"`

	// The time in which all failures are forgiven again, one after the other.
	Window time.Duration `yaml:"window" bounds:"1s..24h"`
}

// Log is what is logged, and how.
type Log struct {
	// text for people, json for machines.
	Format string `yaml:"format" values:"text|json" reload:"no"`

	// The least important lines that are written. debug shows one line for each transaction.
	Level string `yaml:"level" values:"debug|info|warn|error"`
}
