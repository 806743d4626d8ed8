package main

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/claimpool/claimpool/config"
)

// jwt-postgresql-proxy has no configuration file: everything stands in its environment. "claimpool serve" without a file and without
// flags reads that environment, and does what that proxy did.
const (
	upstreamPrefix   = "UPSTREAM__"
	downstreamPrefix = "DOWNSTREAM__"
	keysPrefix       = "PUBLIC_KEYS__"
)

var needed = []string{
	"UPSTREAM__HOST", "UPSTREAM__PORT", "UPSTREAM__PASSWORD", "DOWNSTREAM__IP", "DOWNSTREAM__PORT", "DOWNSTREAM__CERTFILE", "DOWNSTREAM__KEYFILE",
}

// keyVariable is the name of a variable that holds a public key; that proxy sorted them by number, which may be negative.
var keyVariable = regexp.MustCompile(`\A` + keysPrefix + `-?[0-9]+\z`)

// inherited reports whether the environment is that of a jwt-postgresql-proxy.
func inherited(environ []string) bool {
	return slices.ContainsFunc(environ, func(v string) bool {
		return strings.HasPrefix(v, upstreamPrefix) || strings.HasPrefix(v, downstreamPrefix) || strings.HasPrefix(v, keysPrefix)
	})
}

// inheritedConfiguration returns what would stand in a configuration file.
func inheritedConfiguration(environ []string) (*config.Config, error) {
	values, keys := map[string]string{}, []string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if values[name] = value; keyVariable.MatchString(name) {
			keys = append(keys, name)
		}
	}
	for _, name := range needed {
		if _, ok := values[name]; !ok {
			return nil, usage("the environment has variables of jwt-postgresql-proxy, but not %s", name)
		}
	}
	if len(keys) == 0 {
		return nil, usage("the environment has variables of jwt-postgresql-proxy, but no PUBLIC_KEYS__0 with a public key (PEM)")
	}
	for _, name := range []string{"UPSTREAM__PORT", "DOWNSTREAM__PORT"} {
		if _, err := strconv.ParseUint(values[name], 10, 16); err != nil {
			return nil, usage("%s is %q, which is no port", name, values[name])
		}
	}
	cfg := config.Default()
	cfg.Listen = []config.Listener{{Address: net.JoinHostPort(values["DOWNSTREAM__IP"], values["DOWNSTREAM__PORT"])}}
	cfg.TLS.CertFile, cfg.TLS.KeyFile = values["DOWNSTREAM__CERTFILE"], values["DOWNSTREAM__KEYFILE"]
	slices.Sort(keys)
	is := cfg.NewIssuer()
	is.Issuer, is.Audience = "-", []string{"*"}
	for _, name := range keys {
		is.Keys = append(is.Keys, config.KeyFile{Env: name})
	}
	cfg.Issuers["environment"] = is
	rule := cfg.NewRule()
	rule.Name, rule.Method, rule.TLS, rule.FailedMessage = "environment", "jwt", "required", "Authentication failed"
	cfg.Rules = []config.Rule{rule}
	db := cfg.NewDatabase()
	db.Hosts = []string{net.JoinHostPort(values["UPSTREAM__HOST"], values["UPSTREAM__PORT"])}
	db.Password = config.Secret{Env: "UPSTREAM__PASSWORD"}
	db.TLS.Mode = "require" // TLS always, but any certificate; what that proxy did
	if ca := values["UPSTREAM__CAFILE"]; ca != "" {
		db.TLS.Mode, db.TLS.CAFile = "verify-full", ca // what it did not know
	}
	db.Pool.Mode, db.Pool.Size = "session", inheritedServers
	cfg.Databases["*"] = db
	cfg.Complete()
	if errs := cfg.Check().Errors(); len(errs) > 0 {
		return nil, statusError{fmt.Errorf("the environment of jwt-postgresql-proxy: %w", errs), statusUsage}
	}
	return cfg, nil
}

// inheritedServers is the most server connections for one database and role. That proxy had no limit: PostgreSQL's max_connections was.
const inheritedServers = 1000

// environ is the environment of this process, when nobody has given another.
func (e *environment) environ() []string {
	if e.variables != nil {
		return e.variables
	}
	return os.Environ()
}
