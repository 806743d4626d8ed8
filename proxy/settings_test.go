package proxy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// TestSettingsFollowTheClient: what a client asks for at startup holds on every server that it gets, and is nobody else's.
func TestSettingsFollowTheClient(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Size = 2 })
	a := f.login(t, [2]string{"TimeZone", "Europe/Berlin"}, [2]string{"application_name", "a's"}, [2]string{"search_path", "a, pg_temp"},
		[2]string{"options", `-c statement_timeout=12s --lock-timeout=3s -cdatestyle=German -c my.own=with\ space`})
	b := f.login(t, [2]string{"TimeZone", "Asia/Tokyo"}, [2]string{"options", "-c statement_timeout=500ms"})
	c := f.login(t)
	const ask = "SELECT current_setting('TimeZone') || ' ' || current_setting('application_name') || ' ' || current_setting('search_path') || ' ' || " +
		"current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') || ' ' || current_setting('DateStyle') || ' ' || coalesce(current_setting('my.own', true), '')"
	want := map[*peer]string{
		a: "Europe/Berlin a's a, pg_temp 12s 3s German, DMY with space",
		b: `Asia/Tokyo claimpool "$user", public 500ms 0 ISO, MDY `,
		c: `UTC claimpool "$user", public 0 0 ISO, MDY `,
	}
	if got := a.params["TimeZone"] + " " + a.params["application_name"]; got != "Europe/Berlin a's" {
		t.Errorf("at login the client was told %s", got)
	}
	for range 20 {
		p := []*peer{a, b, c}[rand.IntN(3)]
		holder := []*peer{a, b, c}[rand.IntN(3)]
		if p != holder { // so that it is now this server, now the other
			holder.expect("BEGIN", "C(BEGIN) Z(T)")
		}
		if got := p.one(ask); got != want[p] {
			t.Errorf("got %s\nwant %s", got, want[p])
		}
		if p != holder {
			holder.expect("ROLLBACK", "C(ROLLBACK) Z(I)")
		}
	}
	b.expect("SELECT pg_sleep(5)", "T E(57014) Z(I)") // its statement_timeout
	c.expect("SELECT 1 FROM pg_sleep(0.6)", "T D(1) C(SELECT 1) Z(I)")
}

// TestBadSettings: a setting that PostgreSQL refuses ends the client that brought it, with PostgreSQL's reason, and no server.
func TestBadSettings(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Size = 1 })
	good := f.login(t)
	good.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	for setting, code := range map[string]string{
		"TimeZone=Nowhere/Land": "22023", "statement_timeout=soon": "22023", "nonsense=1": "42704", "fsync=off": "55P02",
		"session_replication_role=replica": "42501", "log_statement=all": "42501", "row_security=perhaps": "22023",
	} {
		name, value, _ := strings.Cut(setting, "=")
		p := f.login(t, [2]string{name, value})
		if got := p.ask("SELECT 1"); got != "E("+code+" fatal) EOF" {
			t.Errorf("%s: told %s, want %s", setting, got, code)
		}
		good.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	}
	if st := f.PoolStats(); st.Idle != 1 {
		t.Errorf("%d servers are idle", st.Idle)
	}
}

// TestSettingsAreWhatTheClientWasTold changes settings in every way on a few servers that go from hand to hand: for each client
// what PostgreSQL's ParameterStatus has told it is what holds, on whatever server it is.
func TestSettingsAreWhatTheClientWasTold(t *testing.T) {
	f := startPlain(t, func(o *pgtest.ProxyOptions) { o.Pool.Size = 2 })
	names := []string{"TimeZone", "DateStyle", "IntervalStyle", "application_name", "standard_conforming_strings", "client_encoding"}
	values := map[string][]string{
		"TimeZone": {"UTC", "Europe/Berlin", "asia/tokyo"}, "DateStyle": {"ISO, DMY", "german", "sql, mdy"}, "IntervalStyle": {"postgres", "iso_8601"},
		"application_name": {"x", "y", ""}, "standard_conforming_strings": {"on", "off"}, "client_encoding": {"UTF8", "LATIN1", "SQL_ASCII"},
	}
	var peers []*peer
	for i := range 4 {
		var params [][2]string
		for _, name := range names {
			if rand.IntN(2) == 0 {
				v := values[name]
				params = append(params, [2]string{[]string{name, strings.ToLower(name)}[rand.IntN(2)], v[rand.IntN(len(v))]})
			}
		}
		user := []string{f.role, "ann"}[i%2]
		peers = append(peers, f.dial(t).start(wire.Version30, user, params...).ready())
	}
	for i := range 300 {
		p := peers[rand.IntN(len(peers))]
		name := names[rand.IntN(len(names))]
		v := values[name][rand.IntN(len(values[name]))]
		set := fmt.Sprintf("SET %s = '%s'", name, v)
		what := []string{
			set, set, "SET LOCAL " + set[4:], "RESET " + name, "BEGIN; " + set + "; ROLLBACK", "BEGIN; " + set + "; COMMIT", "RESET ALL", "DISCARD ALL",
			fmt.Sprintf("SELECT set_config('%s', '%s', false)", name, v), "BEGIN; SAVEPOINT a; " + set + "; ROLLBACK TO a; COMMIT", set + "; SELECT 1/0",
		}[rand.IntN(11)]
		p.ask(what)
		for _, name := range names {
			if got := p.one("SELECT current_setting('" + name + "')"); got != p.params[name] {
				t.Fatalf("step %d, %s: %s is %q, and the client was told %q", i, what, name, got, p.params[name])
			}
		}
	}
}
