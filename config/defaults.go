package config

import "time"

// Default returns the configuration of an empty file, before Complete. It lets nobody in: there are no rules and no
// databases.
func Default() *Config {
	return &Config{
		Listen:    []Listener{{Address: "127.0.0.1:6432"}},
		TLS:       TLS{MinVersion: "1.2"},
		Issuers:   map[string]Issuer{},
		Pool:      defaultPool(),
		Databases: map[string]Database{},
		Limits: Limits{
			MaxClients:    10_000,
			MaxLogins:     256,
			LoginTimeout:  15 * time.Second,
			CancelTimeout: 5 * time.Second,
			DrainTimeout:  30 * time.Second,
		},
		Revocation: Revocation{
			Keep: 24 * time.Hour, StaleAfter: 30 * time.Second, WhenStale: "refuse", PollInterval: time.Second,
		},
		Admin:         Admin{TLS: TLS{MinVersion: "1.2"}},
		Logout:        Logout{TLS: TLS{MinVersion: "1.2"}},
		Audit:         Audit{To: "off", MaxSizeMiB: 100, Keep: 10, Queue: 10_000, WhenFull: "drop"},
		Throttle:      Throttle{Failures: 20, Window: time.Minute},
		Log:           Log{Format: "text", Level: "info"},
		WatchInterval: 5 * time.Second,
		Poller:        "auto",
	}
}

func defaultPool() Pool {
	return Pool{
		Mode:                "transaction",
		Size:                20,
		ReserveAfter:        3 * time.Second,
		QueueLength:         10_000,
		QueueWait:           10 * time.Second,
		QueueNotice:         5 * time.Second,
		IdleTimeout:         10 * time.Minute,
		Lifetime:            time.Hour,
		ConnectTimeout:      5 * time.Second,
		LoginRetry:          15 * time.Second,
		HostCheckInterval:   10 * time.Second,
		DNSTTL:              15 * time.Second,
		CheckAfter:          30 * time.Second,
		ServerStatements:    500,
		ClientStatements:    1000,
		ClientStatementsKiB: 4096,
		Isolation:           "shared",
		Features: Features{
			Listen: "shared", AdvisoryLocks: "pin", TemporaryTables: "pin", WithHold: "pin", Set: "follow", Prepare: "pin",
		},
		PinTimeout: 5 * time.Minute,
	}
}

// NewIssuer returns an issuer with the defaults of a new entry under "issuers".
func (c *Config) NewIssuer() Issuer {
	return Issuer{
		Role:          RoleRule{From: "sub"},
		Introspection: Introspection{Timeout: 3 * time.Second},
		Fetch: Fetch{
			Interval: 15 * time.Minute, UnknownKIDInterval: 30 * time.Second, StaleAfter: 24 * time.Hour, Timeout: 5 * time.Second,
		},
	}
}

// NewRule returns a rule with the defaults of a new entry under "rules". It has no method: each rule must name one.
func (c *Config) NewRule() Rule {
	return Rule{
		TLS: "required", Passwords: "file", CertName: "cn", CertClaims: "none", ClientCert: "none",
		LDAP: LDAP{Timeout: 5 * time.Second},
	}
}

// NewTarget returns a target with the defaults of a new entry under "databases.NAME.targets".
func NewTarget() Target { return Target{TargetSessionAttrs: "any", LoadBalanceHosts: "disable"} }

// NewDatabase returns a database with the defaults of a new entry under "databases", and the pool settings of c.
func (c *Config) NewDatabase() Database {
	return Database{
		TLS:                ServerTLS{Mode: "auto"},
		TargetSessionAttrs: "any", LoadBalanceHosts: "disable", Replication: "refuse", MaxReplication: 10,
		Context: Context{Dialect: "none", Window: 3 * time.Second},
		JIT:     JIT{Timeout: 3 * time.Second, HandOn: "never"},
		Pool:    c.Pool,
		Lookup:  Lookup{Query: "SELECT claimpool_lookup.password($1)", MaxAge: 5 * time.Second},
	}
}
