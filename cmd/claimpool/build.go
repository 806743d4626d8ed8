package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/scram"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/trusted"
)

// built is a configuration made ready for the proxy, with all that it read from files.
type built struct {
	declared *config.Config
	proxy    *proxy.Config
	issuers  *issuers
	users    *auth.Userlist    // nil without a users file
	keys     map[string][]byte // the context keys as read, by database
	seed     claimpool.Secret  // of the decoys; it stays the same over reloads
	revoked  *revocations      // nil without a table of revocations
	jit      jitAPIs

	lookups    map[string]*server.Lookup // by database
	clientKeys *auth.Keys                // what clients prove their passwords with; the same over reloads
}

// build makes the configuration ready. before is what runs now, or nil: databases that have not changed are taken over as
// the same objects, so that their server connections live on.
func build(cfg *config.Config, now func() time.Time, before *built) (*built, error) {
	b := &built{declared: cfg, keys: map[string][]byte{}}
	var err error
	var known *issuers
	if before != nil {
		known = before.issuers
	}
	if b.issuers, err = loadIssuers(cfg, now, known); err != nil {
		return nil, err
	}
	if cfg.UsersFile != "" {
		if b.users, err = auth.LoadUserlist(cfg.UsersFile); err != nil {
			return nil, fmt.Errorf("users_file: %w", err)
		}
	}
	if b.lookups, err = lookups(cfg, before); err != nil {
		return nil, err
	}
	b.clientKeys = new(auth.Keys)
	if before != nil {
		b.seed, b.clientKeys, b.revoked = before.seed, before.clientKeys, before.revoked
	} else if b.revoked, err = newRevocations(cfg.Revocation, now); err != nil {
		return nil, err
	}
	if b.jit, err = loadJIT(cfg, now, before); err != nil {
		return nil, err
	}
	a, err := b.authenticator(cfg, now)
	if err != nil {
		return nil, err
	}
	b.proxy = &proxy.Config{Auth: a, Databases: map[string]*proxy.Database{}, Limits: proxy.Limits{
		MaxClients: cfg.Limits.MaxClients, ClientsPerDatabase: cfg.Limits.ClientsPerDatabase,
		ClientsPerRole: cfg.Limits.ClientsPerRole, ClientsPerIdentity: cfg.Limits.ClientsPerIdentity,
		ClientsPerAddress: cfg.Limits.ClientsPerAddress, MaxLogins: cfg.Limits.MaxLogins, LoginTimeout: cfg.Limits.LoginTimeout,
		IdleTimeout: cfg.Limits.IdleTimeout, TransactionIdleTimeout: cfg.Limits.TransactionIdleTimeout,
		QueryTimeout: cfg.Limits.QueryTimeout, TransactionTimeout: cfg.Limits.TransactionTimeout, CancelTimeout: cfg.Limits.CancelTimeout,
		TokenGrace: cfg.Limits.TokenGrace, TokenWarning: cfg.Limits.TokenWarning, Overrun: cfg.Limits.TokenOverrun,
	}}
	b.proxy.Tenants = proxy.Tenants{
		Databases: cfg.Tenants(), User: slices.Contains(cfg.TenantsBy, "user"),
		Options: slices.Contains(cfg.TenantsBy, "options"), SNI: slices.Contains(cfg.TenantsBy, "sni"), Claim: cfg.TenantClaim,
	}
	for name, declared := range cfg.Databases {
		if b.proxy.Databases[name], err = b.database(name, declared, before); err != nil {
			return nil, fmt.Errorf("databases.%s: %w", name, err)
		}
	}
	return b, nil
}

func (b *built) authenticator(cfg *config.Config, now func() time.Time) (*auth.Authenticator, error) {
	rules := make([]auth.Rule, len(cfg.Rules))
	lookup := b.lookup(cfg, now)
	named, err := userMaps(cfg)
	if err != nil {
		return nil, err
	}
	for i, r := range cfg.Rules {
		rules[i] = auth.Rule{
			Name: r.Name, Databases: r.Databases, Users: r.Users, Addresses: r.Addresses, TLS: auth.Transport(r.TLS),
			Method: claimpool.Method(r.Method), Role: r.Role, Failed: r.FailedMessage,
		}
		if slices.Contains(r.Databases, proxy.Other) {
			rules[i].Known = known(cfg)
		}
		nameClients(&rules[i], r, named)
		switch rules[i].Method {
		case claimpool.MethodJWT, claimpool.MethodOAuth:
			set, err := b.issuers.set(r.Issuers...)
			if err != nil {
				return nil, fmt.Errorf("rule %q: %w", r.Name, err)
			}
			rules[i].Issuers = set
			rules[i].OAuth = auth.OAuth{Issuer: cfg.OAuthIssuer(r), Scope: r.Scope}
		case claimpool.MethodSCRAM, claimpool.MethodMD5:
			rules[i].Userlist = b.users
			if passesThrough(cfg) {
				rules[i].Keys = b.clientKeys
			}
			if r.Passwords == "server" {
				rules[i].Lookup = lookup
			}
		case claimpool.MethodLDAP, claimpool.MethodPAM:
			check, err := judgeOf(r)
			if err != nil {
				return nil, fmt.Errorf("rule %q: %w", r.Name, err)
			}
			rules[i].Check = check
		}
		if len(r.ContextIssuers) > 0 {
			set, err := b.issuers.set(r.ContextIssuers...)
			if err != nil {
				return nil, fmt.Errorf("rule %q: %w", r.Name, err)
			}
			rules[i].Contexts = set
		}
	}
	if b.seed == nil {
		b.seed = newSeed()
	}
	made := auth.Config{
		Rules: rules, Seed: b.seed, Clock: now, JIT: b.jit.byDatabase(),
		Throttle: auth.Throttle{Failures: cfg.Throttle.Failures, Window: cfg.Throttle.Window},
	}
	if b.revoked != nil {
		made.Revocations = b.revoked.set
	}
	return auth.New(made)
}

// database makes one database, or takes it over from before.
func (b *built) database(name string, d config.Database, before *built) (*proxy.Database, error) {
	var key []byte
	if d.Context.KeyFile != "" {
		var err error
		if key, err = os.ReadFile(d.Context.KeyFile); err != nil {
			return nil, fmt.Errorf("context.key_file: %w", err)
		}
	}
	b.keys[name] = key
	if before != nil && before.proxy.Databases[name] != nil && slices.Equal(before.keys[name], key) &&
		reflect.DeepEqual(before.declared.Databases[name], d) {
		return before.proxy.Databases[name], nil
	}
	db, err := b.way(name, d, key)
	if err != nil || len(d.Targets) == 0 {
		return db, err
	}
	db.Targets = map[string]*proxy.Database{}
	for target, t := range d.Targets {
		if db.Targets[target], err = b.way(name, d.At(t), key); err != nil {
			return nil, fmt.Errorf("targets.%s: %w", target, err)
		}
	}
	return db, nil
}

// way makes a database with one choice of servers.
func (b *built) way(name string, d config.Database, key []byte) (*proxy.Database, error) {
	dialect, err := dialectOf(d.Context, key)
	if err != nil {
		return nil, err
	}
	db := &proxy.Database{
		Name: name, Role: d.Role, Pool: poolConfig(d.Pool), Statements: statementLimits(d.Pool), ShareBy: d.Pool.ShareBy, Dialect: dialect,
	}
	if err := addFeatures(db, d); err != nil {
		return nil, err
	}
	for _, parameter := range slices.Sorted(maps.Keys(d.Parameters)) {
		db.Parameters = append(db.Parameters, [2]string{parameter, d.Parameters[parameter]})
	}
	db.Replication, db.MaxReplication = proxy.Replication(d.Replication), d.MaxReplication
	db.FailoverWait, db.QueueNotice = d.Pool.FailoverWait, d.Pool.QueueNotice
	keys, group, fetched := b.clientKeys, groupOf(d), new(credentials)
	db.Server = func(role string) (*server.Config, error) {
		cfg, err := serverConfig(name, d, role, group)
		if err == nil {
			err = fetched.apply(cfg, secretOf(d, role))
		}
		if err == nil && secretOf(d, role).Client != "" {
			cfg.Keys = func() (scram.Credential, bool) { return keys.Get(name, role) }
		}
		return cfg, err
	}
	return db, nil
}

func dialectOf(c config.Context, key []byte) (trusted.Dialect, error) {
	switch c.Dialect {
	case "none":
		return trusted.None{}, nil
	case "sql":
		k, err := trusted.ParseSQLKey(key)
		if err != nil {
			return nil, fmt.Errorf("context.key_file: %w", err)
		}
		return &trusted.SQL{Key: k, Window: c.Window}, nil
	case "native":
		k, err := trusted.ParseNativeKey(key)
		if err != nil {
			return nil, fmt.Errorf("context.key_file: %w", err)
		}
		return &trusted.Native{Key: k}, nil
	}
	return nil, fmt.Errorf("context.dialect: %q is not known to this version", c.Dialect)
}

func poolConfig(p config.Pool) pool.Config {
	return pool.Config{
		Mode: pool.Mode(p.Mode), Isolation: pool.Isolation(p.Isolation), Size: p.Size, Min: p.MinSize,
		Reserve: p.ReserveSize, ReserveAfter: p.ReserveAfter, QueueLength: p.QueueLength, QueueWait: p.QueueWait,
		ShareSize: p.ShareSize, Pins: pins(p), IdleTimeout: p.IdleTimeout, Lifetime: p.Lifetime, CheckAfter: p.CheckAfter,
	}
}

func statementLimits(p config.Pool) prepared.Limits {
	return prepared.Limits{Server: p.ServerStatements, Client: p.ClientStatements, Bytes: p.ClientStatementsKiB << 10}
}

// groupOf makes the memory of a database's servers, which all roles share.
func groupOf(d config.Database) *server.Group {
	return server.NewGroup(server.Policy{
		Attrs: server.Attrs(d.TargetSessionAttrs), Balance: server.Balance(d.LoadBalanceHosts), DNSTTL: d.Pool.DNSTTL,
		LoginRetry: d.Pool.LoginRetry, CheckInterval: d.Pool.HostCheckInterval,
	})
}

// serverConfig is the way to a database's servers as a role.
func serverConfig(name string, d config.Database, role string, group *server.Group) (*server.Config, error) {
	cfg := &server.Config{
		Hosts: d.Hosts, Group: group, Database: d.DBName, Role: role, ConnectTimeout: d.Pool.ConnectTimeout,
		TLS: server.TLS{CAFile: d.TLS.CAFile, CertFile: d.TLS.CertFile, KeyFile: d.TLS.KeyFile},
	}
	if cfg.Database == "" {
		cfg.Database = name
	}
	if d.TLS.Mode != "auto" {
		cfg.TLS.Mode = server.Mode(d.TLS.Mode)
	}
	cfg.Password = passwordOf(secretOf(d, role))
	return cfg, cfg.Check()
}

// secretOf is where the password of a role is.
func secretOf(d config.Database, role string) config.Secret {
	if secret, ok := d.Passwords[role]; ok {
		return secret
	}
	return d.Password
}

func passwordOf(s config.Secret) func(context.Context) (claimpool.Secret, error) {
	switch {
	case s.File != "":
		return server.FilePassword(s.File)
	case s.Env != "":
		return server.EnvPassword(s.Env)
	case len(s.Command) > 0:
		return server.CommandPassword(s.Command...)
	case s.Client != "":
		return func(context.Context) (claimpool.Secret, error) {
			return nil, errors.New("no client of this role has logged in with its password by SCRAM since the proxy was started")
		}
	}
	return func(context.Context) (claimpool.Secret, error) {
		return nil, errors.New(`the server wants a password, and none is configured: set "password" of the database`)
	}
}
