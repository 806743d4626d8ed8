package config

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/reference/settings.md")

func TestSettingsPage(t *testing.T) {
	const path = "../docs/reference/settings.md"
	if *update {
		if err := os.MkdirAll("../docs/reference", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(Page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != Page() {
		t.Errorf("%s is not what the declarations say; run: go generate ./config (%v)", path, err)
	}
}

func TestEverySettingIsDeclaredWhole(t *testing.T) {
	for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
		if _, ok := f.field.Tag.Lookup("reload"); !ok {
			t.Errorf("%s does not say whether it is reloaded", f.name)
		}
	}
	for _, e := range Manual() {
		if e.Text == "" || !strings.HasSuffix(e.Text, ".") && !strings.HasSuffix(e.Text, `."`) && !strings.HasSuffix(e.Text, ".)") {
			t.Errorf("%s: the comment must be a sentence, not %q", e.Key, e.Text)
		}
		if strings.Contains(e.Key, "-") || strings.ToLower(strings.ReplaceAll(e.Key, "NAME", "")) != strings.ReplaceAll(e.Key, "NAME", "") {
			t.Errorf("%s: keys are lower case with underscores", e.Key)
		}
	}
}

// TestDefaultsAreWithinBounds writes every default into a file and reads it back.
func TestDefaultsAreWithinBounds(t *testing.T) {
	for _, e := range Manual() {
		if e.Default == "" || e.group || strings.ContainsAny(e.Key, "[N") {
			continue
		}
		var text strings.Builder
		for i, part := range strings.Split(e.Key, ".") {
			text.WriteString("\n" + strings.Repeat(" ", i) + part + ":")
		}
		want := Default()
		want.Complete()
		c, err := Parse("c.yaml", []byte(text.String()+" "+e.Default))
		if err != nil {
			t.Errorf("the default of %s: %v", e.Key, err)
			continue
		}
		if a, b := Diff(want, c); len(a)+len(b) > 0 {
			t.Errorf("the default of %s, %s, is read as something else", e.Key, e.Default)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, tc := range []struct {
		key  string
		want []string
	}{
		{"pool.size", []string{"pool.size (whole number; 1 to 100000; default 20; reloaded by SIGHUP)", "The most server connections"}},
		{"databases.shop.pool.size", []string{"databases.NAME.pool.size ("}},
		{"rules[3].tls", []string{"rules[].tls (word; required, any, off or local; default required; reloaded by SIGHUP)"}},
		{"rules.tls", []string{"rules[].tls ("}},
		{"queue_wait", []string{"pool.queue_wait (time; 1ms to 1h; default 10s;"}},
		{"pool", []string{"pool (group;", "Settings: mode, size,"}},
		{"rules", []string{"rules (list of groups;", "Settings: name, databases,"}},
		{"databases", []string{"databases (names, each with a group;", "Settings: hosts, target_session_attrs,"}},
		{"loops", []string{"loops (whole number; 0 to 256; default 0; needs a restart)"}},
		{"min_version", []string{"tls.min_version ("}},
		{"address", []string{"listen[].address (text; needs a restart)"}},
		{"key_file", []string{"tls.key_file (file;", "databases.NAME.context.key_file (file;"}},
	} {
		got, err := Explain(tc.key)
		if err != nil {
			t.Errorf("%s: %v", tc.key, err)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", tc.key, want, got)
			}
		}
	}
	for key, want := range map[string]string{
		"pool.szie":  `there is no setting "pool.szie". Did you mean "pool.size"?`,
		"max-client": `there is no setting "max-client". Did you mean "max_clients"?`,
		"":           `there is no setting "".`,
	} {
		if _, err := Explain(key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", key, err, want)
		}
	}
}

func TestDiff(t *testing.T) {
	const base = "rules: [{method: jwt}]\ndatabases: {a: {hosts: x}, b: {hosts: y}}\n"
	for _, tc := range []struct{ name, after, reloadable, restart string }{
		{"nothing", base, "", ""},
		{"one value", base + "pool: {queue_wait: 3s}", "pool.queue_wait databases.a.pool.queue_wait databases.b.pool.queue_wait", ""},
		{"a restart", base + "loops: 3\nlog: {format: json, level: debug}", "log.level", "log.format loops"},
		{"an address", base + "listen: ':1'", "", "listen[0].address"},
		{"a further address", base + "listen: [':1', ':2']", "", "listen"},
		{"a certificate", base + "tls: {cert_file: c, key_file: k}", "tls.cert_file tls.key_file listen[0].tls.cert_file listen[0].tls.key_file", ""},
		{"a rule in a rule", "rules: [{method: md5}]\ndatabases: {a: {hosts: x}, b: {hosts: y}}", "rules[0].method", ""},
		{"databases come and go", "rules: [{method: jwt}]\ndatabases: {a: {hosts: x}, c: {hosts: y}}", "databases.b databases.c", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reloadable, restart := Diff(parse1(t, base), parse1(t, tc.after))
			if got := strings.Join(reloadable, " "); got != tc.reloadable {
				t.Errorf("reloadable: %q, want %q", got, tc.reloadable)
			}
			if got := strings.Join(restart, " "); got != tc.restart {
				t.Errorf("restart: %q, want %q", got, tc.restart)
			}
		})
	}
}
