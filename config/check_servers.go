package config

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/claimpool/claimpool/feature"
)

// databases checks the way to each database.
func (k *checker) databases() {
	if len(k.c.Databases) == 0 {
		k.wrong("databases", "there are no databases, so there is nothing to connect to", "As in: databases: {app: {hosts: 127.0.0.1:5432}}")
	}
	for _, name := range slices.Sorted(maps.Keys(k.c.Databases)) {
		db, key := k.c.Databases[name], "databases."+name
		if len(db.Hosts) == 0 {
			k.wrong(key+".hosts", "is missing", "As in: hosts: 127.0.0.1:5432")
		}
		k.addresses(key, db.Hosts)
		k.hosts(key, db)
		k.targets(key+".targets", db)
		k.serverTLS(key+".tls", db.TLS)
		k.secret(key+".password", db.Password)
		k.lookup(key+".lookup", db.Lookup)
		k.passThrough(key, name, db)
		k.sharedUser(key, db)
		for _, role := range slices.Sorted(maps.Keys(db.Passwords)) {
			k.secret(key+".passwords."+role, db.Passwords[role])
			if db.Role != "" && role != db.Role {
				k.wrong(key+".passwords."+role, "is never used: the role is always "+quote(db.Role), `Remove it, or remove "role".`)
			}
		}
		k.context(key+".context", db.Context)
		if name == "*" {
			k.other(key, db)
		}
		k.jit(key+".jit", db.JIT)
		jwt := func(r Rule) bool {
			return (r.takesTokens() || len(r.ContextIssuers) > 0) && r.matchesDatabase(name)
		}
		if db.Context.Dialect == "none" && slices.ContainsFunc(k.c.Rules, jwt) {
			k.warn(key+".context", "clients log in with tokens, but their claims do not reach this database",
				`Run "claimpool db install", and set "context: {dialect: sql, key_file: …}".`)
		}
		for _, name := range slices.Sorted(maps.Keys(db.Parameters)) {
			k.parameter(key+".parameters."+name, name, db.Parameters[name])
		}
		k.channels(key+".channels", db.Channels)
		k.channels(key+".send_channels", db.SendChannels)
		if db.Pool.Isolation == "off" && db.Context.Dialect != "none" {
			k.wrong(key+".pool.isolation", "is off, but the database has a context: clients could run statements on what another one has left",
				`Use "isolation: shared" or "isolation: strict".`)
		}
		if db.Pool != k.c.Pool {
			k.pool(key+".pool", db.Pool)
		}
	}
}

// addresses looks at a list of servers.
func (k *checker) addresses(key string, hosts []string) {
	for i, host := range hosts {
		if err := checkHost(host); err != nil {
			k.wrong(fmt.Sprintf("%s.hosts[%d]", key, i), err.Error(), `Write "db.example.com:5432", "[::1]:5432" or "/var/run/postgresql".`)
		}
	}
}

// channels looks at templates for the names of channels.
func (k *checker) channels(key string, templates []string) {
	for i, template := range templates {
		if _, err := feature.ParseChannel(template); err != nil {
			k.wrong(fmt.Sprintf("%s[%d]", key, i), "is no template for channels: "+err.Error(), `As in: "tenant_${tenant_id}_*".`)
		}
	}
}

// checkHost says what is wrong with a server's address, which has its port by now.
func checkHost(host string) error {
	if strings.HasPrefix(host, "/") {
		_, port, _ := strings.Cut(filepath.Base(host), ":")
		return checkPort(port)
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil || name == "" || strings.ContainsAny(name, "/@ \t\n") {
		return fmt.Errorf("cannot understand the address %s", quote(host))
	}
	return checkPort(port)
}

func checkPort(port string) error {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("the port must be a number from 1 to 65535, not %s", quote(port))
	}
	return nil
}

func (k *checker) serverTLS(key string, t ServerTLS) {
	k.file(key+".ca_file", t.CAFile)
	if k.pair(key, t.CertFile, t.KeyFile) {
		k.usable(key, t.CertFile, t.KeyFile)
	}
	if t.Mode == "disable" && (t.CAFile != "" || t.CertFile != "") {
		k.wrong(key+".mode", "is disable, but there are certificates", `Use "mode: verify-full".`)
	}
	if t.Mode == "prefer" && t.CAFile != "" {
		k.warn(key+".mode", "does not verify the server's certificate, so ca_file is not used", `Use "mode: verify-full".`)
	}
}

func (k *checker) context(key string, tc Context) {
	switch {
	case tc.Dialect == "none" && tc.KeyFile != "":
		k.wrong(key+".dialect", "is missing", `With a key_file, say "dialect: sql" or "dialect: native".`)
	case tc.Dialect == "native" && tc.KeyFile == "":
		k.wrong(key+".key_file", "is missing", `Run "claimpool db native-key --key-file FILE", and name that file here.`)
	case tc.Dialect != "none" && tc.KeyFile == "":
		k.wrong(key+".key_file", "is missing", `Run "claimpool db install --key-file FILE", and name that file here.`)
	default:
		k.secretFile(key+".key_file", tc.KeyFile)
	}
}

// reserved are the startup parameters that the proxy sets itself, because the trusted context rests on them.
var reserved = []string{"user", "database", "replication", "options", "role", "session_authorization", "row_security", "local_preload_libraries"}

var parameterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?$`)

func (k *checker) parameter(key, name, value string) {
	lower := strings.ToLower(name)
	switch {
	case !parameterName.MatchString(name):
		k.wrong(key, "is not the name of a PostgreSQL setting", "")
	case slices.Contains(reserved, lower) || strings.HasPrefix(lower, "claimpool.") || strings.HasPrefix(lower, "_pq_."):
		k.wrong(key, "is set by the proxy itself", "Remove it.")
	case strings.ContainsRune(value, 0):
		k.wrong(key, "holds a zero byte", "")
	case lower == "client_encoding" && !isUTF8(value):
		k.wrong(key, "must be UTF8: claims are, and the proxy installs them in this encoding", "Remove it. Clients may ask for another encoding for themselves.")
	}
}

// isUTF8 knows PostgreSQL's spellings of the encoding (Character Set Support).
func isUTF8(name string) bool {
	switch strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToUpper(name)) {
	case "UTF8", "UNICODE":
		return true
	}
	return false
}

func (k *checker) pool(key string, p Pool) {
	if p.MinSize > p.Size {
		k.wrong(key+".min_size", fmt.Sprintf("is %d, more than the size, %d", p.MinSize, p.Size), "")
	}
	if p.PinSize > p.Size {
		k.wrong(key+".pin_size", fmt.Sprintf("is %d, more than the size, %d", p.PinSize, p.Size), "")
	}
	if p.ReserveSize > 0 && p.ReserveAfter >= p.QueueWait {
		k.wrong(key+".reserve_after", "is not shorter than queue_wait, so the reserve is never used", "")
	}
	if p.Mode == "session" && p.QueueLength == 0 && p.Size < 2 {
		k.warn(key+".size", "lets in one client at a time", "")
	}
}
