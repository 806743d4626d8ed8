package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestCheckTargets(t *testing.T) {
	dir := folder(t)
	for _, tc := range []struct{ name, databases, want string }{
		{"by the word alone", "{app: {hosts: [a, b], target_session_attrs: primary, targets: {reads: prefer-standby, any: any}}}", ""},
		{"with hosts of its own", "{app: {hosts: a, targets: {reads: {hosts: [b, c], load_balance_hosts: random, target_session_attrs: standby}}}}", ""},
		{"a dot", "{app: {hosts: a, targets: {a.b: any}}}", `databases.app.targets.a.b: cannot be told apart in a user name: "a.b"`},
		{"a bad host", "{app: {hosts: a, targets: {reads: {hosts: 'a b'}}}}", "databases.app.targets.reads.hosts[0]: "},
		{"a setting of the proxy", "{app: {hosts: a, targets: {reads: {parameters: {row_security: off}}}}}",
			"databases.app.targets.reads.parameters.row_security: is set by the proxy itself"},
		{"nothing to write to", "{app: {hosts: a, parameters: {default_transaction_read_only: on}, targets: {w: read-write}}}",
			"databases.app.targets.w.target_session_attrs: is read-write, but parameters make every server read-only"},
		{"a tenant's name", "{app: {hosts: a, targets: {abc: any}}, b: {hosts: a, tenant: abc}}\ntenants_by: user",
			`databases.app.targets.abc: is the name of a tenant, too, of the database "b"`},
		{"for all", "{'*': {hosts: h, targets: {reads: any}}}", "databases.*.targets: are not for databases that are not listed"},
	} {
		got := check(t, dir, map[string]string{"rules": "{method: reject}", "databases": tc.databases})
		if tc.want == "" && strings.Contains(got, "targets") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// A target differs from its database in what it says, and in nothing else; the database itself is not changed by it.
func TestTargetOfADatabase(t *testing.T) {
	db := Database{
		Hosts: []string{"a:1"}, TargetSessionAttrs: "primary", LoadBalanceHosts: "disable", Role: "app", DBName: "shop",
		Parameters: map[string]string{"work_mem": "1MB", "DateStyle": "ISO"}, Targets: map[string]Target{"reads": {}},
	}
	got := db.At(Target{
		TargetSessionAttrs: "standby", LoadBalanceHosts: "random", Parameters: map[string]string{"datestyle": "German"},
	})
	want := Database{
		Hosts: []string{"a:1"}, TargetSessionAttrs: "standby", LoadBalanceHosts: "random", Role: "app", DBName: "shop",
		Parameters: map[string]string{"work_mem": "1MB", "datestyle": "German"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if len(db.Parameters) != 2 || db.Parameters["DateStyle"] != "ISO" || len(db.Targets) != 1 {
		t.Errorf("the database has become %+v", db)
	}
	if got := db.At(Target{Hosts: []string{"b:2"}}); len(got.Hosts) != 1 || got.Hosts[0] != "b:2" {
		t.Errorf("hosts %v", got.Hosts)
	}
}
