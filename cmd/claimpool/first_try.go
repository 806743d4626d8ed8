package main

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/config"
)

// issuerFlags describe one issuer on the command line.
type issuerFlags struct {
	JWKS     []string `name:"jwks" sep:"none" placeholder:"FILE|URL" help:"A key set that verifies tokens (JWKS); files may be repeated. https://… is fetched again and again."`
	Discover bool     `help:"Fetch the keys that the issuer's description of itself names (OpenID Connect Discovery): --issuer must be its https:// address."`
	Key      []string `sep:"none" placeholder:"FILE" help:"A key that verifies tokens (PEM, certificate, JWK, or a secret together with --alg); may be repeated."`
	Alg      []string `placeholder:"ALG" help:"The algorithms that the keys are for. Default: what the files say."`
	Issuer   string   `placeholder:"ISS" help:"The tokens' iss."`
	Audience []string `sep:"none" placeholder:"AUD" help:"The accepted aud; may be repeated. * accepts any."`
}

func (f *issuerFlags) given() bool {
	return len(f.JWKS)+len(f.Key)+len(f.Alg)+len(f.Audience) > 0 || f.Issuer != "" || f.Discover
}

// issuer returns the issuer as it would stand in a configuration file.
func (f *issuerFlags) issuer() (config.Issuer, error) {
	is := config.Default().NewIssuer()
	is.Issuer, is.Audience = f.Issuer, f.Audience
	sources := len(f.JWKS) + len(f.Key)
	switch {
	case f.Discover:
		is.Discovery, is.Algorithms = f.Issuer, f.Alg
		sources++
	case len(f.JWKS) > 0 && isURL(f.JWKS[0]):
		is.JWKSURL, is.Algorithms = f.JWKS[0], f.Alg
	default:
		for _, file := range slices.Concat(f.JWKS, f.Key) {
			is.Keys = append(is.Keys, config.KeyFile{File: file, Algorithms: f.Alg})
		}
	}
	switch {
	case sources == 0:
		return is, usage("which keys verify the tokens? Give --jwks FILE, --jwks https://…, --discover or --key FILE")
	case sources > 1 && (f.Discover || slices.ContainsFunc(f.JWKS, isURL)):
		return is, usage("keys come from one URL, from --discover, or from files: give one of them")
	case is.Issuer == "":
		return is, usage(`who signs the tokens? Give --issuer, the "iss" in them`)
	case len(is.Audience) == 0:
		return is, usage(`for whom are the tokens? Give --audience, the "aud" in them, or --audience '*' for a trial`)
	}
	return is, nil
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://")
}

// firstTry describes a whole proxy on the command line: one database, one issuer, one role.
type firstTry struct {
	DSN    string   `name:"dsn" placeholder:"DSN" help:"The database, as for psql. Its user becomes the role of all clients. What is missing comes from PGHOST, PGPASSWORD, ~/.pgpass and so on."`
	Listen []string `sep:"none" placeholder:"ADDRESS" help:"Where to listen; may be repeated. Default: 127.0.0.1:6432."`
	issuerFlags
	TLSCert    string `name:"tls-cert" placeholder:"FILE" help:"The certificate for clients. Needed to listen on more than loopback addresses and unix sockets."`
	TLSKey     string `name:"tls-key" placeholder:"FILE" help:"Its private key."`
	ContextKey string `placeholder:"FILE" help:"The key file that claimpool db install wrote. Without it claims do not reach the database."`
	PoolMode   string `placeholder:"MODE" enum:",session,transaction,statement" default:"" help:"session, transaction or statement. Default: transaction."`
	PoolSize   int    `placeholder:"N" help:"The most server connections. Default: 20."`
}

func (f *firstTry) given() bool {
	return f.issuerFlags.given() || len(f.Listen) > 0 || f.PoolSize != 0 || f.DSN+f.TLSCert+f.TLSKey+f.ContextKey+f.PoolMode != ""
}

// configuration returns what would stand in a configuration file.
func (f *firstTry) configuration(env *environment) (*config.Config, error) {
	is, err := f.issuerFlags.issuer()
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	if err := f.listeners(cfg); err != nil {
		return nil, err
	}
	switch {
	case f.PoolSize < 0:
		return nil, usage("--pool-size must be at least 1")
	case f.PoolSize > 0:
		cfg.Pool.Size = f.PoolSize
	}
	if f.PoolMode != "" {
		cfg.Pool.Mode = f.PoolMode
	}
	name, db, err := f.database(env, cfg)
	if err != nil {
		return nil, err
	}
	is.Role = config.RoleRule{From: "fixed", Value: db.Role}
	cfg.Databases[name], cfg.Issuers["first try"] = db, is
	cfg.Complete()
	if errs := cfg.Check().Errors(); len(errs) > 0 {
		return nil, statusError{errs, statusUsage}
	}
	return cfg, nil
}

// listeners sets the addresses, the certificate, and the one rule. Without a certificate a token may come in the clear, but
// only from this machine.
func (f *firstTry) listeners(cfg *config.Config) error {
	if len(f.Listen) > 0 {
		cfg.Listen = nil
	}
	for _, address := range f.Listen {
		cfg.Listen = append(cfg.Listen, config.Listener{Address: address})
	}
	cfg.TLS.CertFile, cfg.TLS.KeyFile = f.TLSCert, f.TLSKey
	rule := cfg.NewRule()
	rule.Name, rule.Method = "first try", "jwt"
	if !cfg.TLS.Enabled() {
		rule.TLS = "any"
		for _, l := range cfg.Listen {
			if !local(l.Address) {
				return usage("on %s tokens would cross the network in the clear: give --tls-cert and --tls-key, or listen on 127.0.0.1:6432", l.Address)
			}
		}
	}
	cfg.Rules = []config.Rule{rule}
	return nil
}

// local reports whether only this machine can reach an address.
func local(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// passwordVariable is where the password of a DSN goes: settings name the place of a secret, and never hold one.
const passwordVariable = "CLAIMPOOL_DSN_PASSWORD"

// database translates the DSN.
func (f *firstTry) database(env *environment, cfg *config.Config) (name string, db config.Database, err error) {
	if f.DSN == "" {
		return "", db, usage("which database? Give --dsn postgres://app_user@127.0.0.1/app")
	}
	dsn, err := pgx.ParseConfig(f.DSN)
	if err != nil {
		return "", db, usage("--dsn: %w", err)
	}
	db = cfg.NewDatabase()
	db.Role = dsn.User
	db.DBName = dsn.Database
	if db.DBName == "" {
		db.DBName = dsn.User // as PostgreSQL does
	}
	add := func(host string, port uint16) {
		if h := hostPort(host, port); !slices.Contains(db.Hosts, h) { // pgx lists a host once with TLS and once without
			db.Hosts = append(db.Hosts, h)
		}
	}
	add(dsn.Host, dsn.Port)
	for _, fallback := range dsn.Fallbacks {
		add(fallback.Host, fallback.Port)
	}
	db.TLS.CAFile, db.TLS.CertFile, db.TLS.KeyFile = dsnOption(f.DSN, "sslrootcert"), dsnOption(f.DSN, "sslcert"), dsnOption(f.DSN, "sslkey")
	switch mode := dsnOption(f.DSN, "sslmode"); mode {
	case "":
	case "allow":
		db.TLS.Mode = "prefer" // no second connection without TLS behind one with it
	default:
		db.TLS.Mode = mode // pgx has looked at it
	}
	if dsn.Password != "" {
		if err := env.setVariable(passwordVariable, dsn.Password); err != nil {
			return "", db, fmt.Errorf("keep the password: %w", err)
		}
		db.Password = config.Secret{Env: passwordVariable}
	}
	if f.ContextKey != "" {
		db.Context.Dialect, db.Context.KeyFile = "sql", f.ContextKey
	}
	for _, name := range []string{"search_path", "statement_timeout", "timezone", "application_name"} {
		if value, ok := dsn.RuntimeParams[name]; ok {
			if db.Parameters == nil {
				db.Parameters = map[string]string{}
			}
			db.Parameters[name] = value
		}
	}
	return db.DBName, db, nil
}

func hostPort(host string, port uint16) string {
	if strings.HasPrefix(host, "/") {
		return fmt.Sprintf("%s:%d", host, port)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

var keyword = regexp.MustCompile(`([a-z]+)\s*=\s*(?:'([^']*)'|(\S+))`)

// dsnOption finds what pgx turns into something else: an option of a DSN, in either of its two forms.
func dsnOption(dsn, name string) string {
	if u, err := url.Parse(dsn); err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql") {
		return u.Query().Get(name)
	}
	for _, m := range keyword.FindAllStringSubmatch(dsn, -1) {
		if m[1] == name {
			return m[2] + m[3]
		}
	}
	return ""
}
