package config

import "strings"

// hosts checks which of a database's servers are used.
func (k *checker) hosts(key string, db Database) {
	for name, value := range db.Parameters {
		if strings.EqualFold(name, "default_transaction_read_only") && isOn(value) && db.TargetSessionAttrs == "read-write" {
			k.wrong(key+".target_session_attrs", "is read-write, but parameters make every server read-only, so none will do",
				`Use "target_session_attrs: primary".`)
		}
	}
	if db.Replication == "allow-with-claims" {
		k.warn(key+".replication", "lets clients read all rows, whatever their claims", `Use "replication: allow", and a client without a token.`)
	}
	if db.LoadBalanceHosts != "disable" && len(db.Hosts) > 1 && db.TargetSessionAttrs == "any" {
		k.warn(key+".load_balance_hosts", "spreads clients over all hosts, and those that meet a standby cannot write",
			`Use "target_session_attrs: primary" for writing, and a database entry of its own for reading.`)
	}
}

// isOn knows PostgreSQL's spellings of a boolean that is true (config.sgml, "Parameter Names and Values": unambiguous prefixes count).
func isOn(value string) bool {
	v := strings.ToLower(strings.TrimSpace(value))
	return v != "" && (v == "on" || v == "1" || strings.HasPrefix("true", v) || strings.HasPrefix("yes", v))
}
