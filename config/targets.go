package config

import (
	"maps"
	"slices"
	"strings"
)

// Target is another choice among the servers of a database.
type Target struct {
	// The servers, in place of those of the database. Empty: those.
	Hosts []string `yaml:"hosts"`

	// Which of them will do, as in the database's own setting.
	TargetSessionAttrs string `yaml:"target_session_attrs" values:"any|read-write|read-only|primary|standby|prefer-standby" short:"yes"`

	// The order in which they are tried, as in the database's own setting.
	LoadBalanceHosts string `yaml:"load_balance_hosts" values:"disable|random|round-robin"`

	// Settings for the server connections besides the database's "parameters". Of two with one name, this one counts.
	Parameters map[string]string `yaml:"parameters"`
}

// targets checks the other choices among a database's servers.
func (k *checker) targets(key string, db Database) {
	for _, name := range slices.Sorted(maps.Keys(db.Targets)) {
		t, key := db.Targets[name], key+"."+name
		if name == "" || strings.ContainsAny(name, ". \t\x00") {
			k.wrong(key, "cannot be told apart in a user name: "+quote(name), "Use a name without dots and spaces, such as reads.")
		}
		if tenant, ok := k.c.Tenants()[name]; ok && slices.Contains(k.c.TenantsBy, "user") {
			k.wrong(key, "is the name of a tenant, too, of the database "+quote(tenant), `Behind ".cluster." clients may name both: use another name.`)
		}
		k.addresses(key, t.Hosts)
		k.hosts(key, db.At(t))
		for _, parameter := range slices.Sorted(maps.Keys(t.Parameters)) {
			k.parameter(key+".parameters."+parameter, parameter, t.Parameters[parameter])
		}
	}
}

// At is the database as clients of a target get it.
func (db Database) At(t Target) Database {
	if len(t.Hosts) > 0 {
		db.Hosts = t.Hosts
	}
	db.TargetSessionAttrs, db.LoadBalanceHosts = t.TargetSessionAttrs, t.LoadBalanceHosts
	parameters := maps.Clone(db.Parameters)
	for name, value := range t.Parameters {
		if parameters == nil {
			parameters = map[string]string{}
		}
		maps.DeleteFunc(parameters, func(other, _ string) bool { return strings.EqualFold(other, name) })
		parameters[name] = value
	}
	db.Parameters, db.Targets = parameters, nil
	return db
}
