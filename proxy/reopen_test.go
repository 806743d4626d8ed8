package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pool"
)

// TestResetGoesBackToTheClientsSettings: in session mode RESET, RESET ALL, DISCARD ALL and SET … TO DEFAULT go back to what the client
// has asked for at its start, and pg_settings shows it as its own, as without a proxy.
func TestResetGoesBackToTheClientsSettings(t *testing.T) {
	t.Parallel()
	f := startPlain(t, inMode(pool.Session, 1))
	own := [][2]string{
		{"DateStyle", "german"}, {"application_name", "its own"}, {"search_path", "a, b"},
		{"options", `-c statement_timeout=12s --intervalstyle=iso_8601 -c my.own=with\ space`},
	}
	const ask = "SELECT current_setting('DateStyle') || '|' || current_setting('application_name') || '|' || current_setting('search_path') || '|' || " +
		"current_setting('statement_timeout') || '|' || current_setting('IntervalStyle') || '|' || current_setting('my.own')"
	const want = "German, DMY|its own|a, b|12s|iso_8601|with space"
	for round := range 2 { // the second client gets the server of the first
		p := f.login(t, own...)
		if got := p.params["DateStyle"] + "|" + p.params["application_name"] + "|" + p.params["IntervalStyle"]; got != "German, DMY|its own|iso_8601" {
			t.Errorf("round %d: at login the client was told %s", round, got)
		}
		for _, reset := range []string{
			"", "RESET ALL", "DISCARD ALL", "RESET datestyle; RESET application_name; RESET search_path; RESET statement_timeout; RESET intervalstyle; RESET my.own",
			"SET datestyle TO DEFAULT; SET application_name TO DEFAULT; SET search_path TO DEFAULT; SET statement_timeout TO DEFAULT; " +
				"SET intervalstyle TO DEFAULT; SET my.own TO DEFAULT",
		} {
			p.ask("SET datestyle = iso; SET application_name = x; SET search_path = c; SET statement_timeout = 0; SET intervalstyle = postgres; SET my.own = y")
			if reset == "" {
				continue
			}
			p.ask(reset)
			if got := p.one(ask); got != want {
				t.Errorf("round %d, after %s: %s", round, reset, got)
			}
		}
		p.expect("SELECT source, reset_val FROM pg_settings WHERE name = 'IntervalStyle'", "T D(client,iso_8601) C(SELECT 1) Z(I)")
		p.leave()
	}
	if st := f.PoolStats(); st.Closed[pool.OtherSettings] > 1 { // the connection that the pool had opened first
		t.Errorf("%d servers were opened anew", st.Closed[pool.OtherSettings])
	}
}

// TestServersWithOtherSettings: a server that was opened with one client's settings serves others who ask for the same, and nobody
// else; there is never one more than the pool may have.
func TestServersWithOtherSettings(t *testing.T) {
	t.Parallel()
	f := startPlain(t, inMode(pool.Session, 1))
	const ask = "SELECT current_setting('DateStyle')"
	type who struct{ style, want string }
	german, plain, sql := who{"german", "German, DMY"}, who{"", "ISO, MDY"}, who{"sql, dmy", "SQL, DMY"}
	var last who
	var pid uint32
	for i, w := range []who{german, german, plain, plain, sql, german, plain, german, german} {
		var params [][2]string
		if w.style != "" {
			params = append(params, [2]string{"datestyle", w.style})
		}
		p := f.login(t, params...)
		for _, sql := range []string{"RESET datestyle", "SET datestyle = iso; DISCARD ALL", "RESET ALL"} {
			p.ask(sql)
			if got := p.one(ask); got != w.want {
				t.Errorf("client %d gets %q after %s", i, got, sql)
			}
		}
		if got := p.one("SELECT pg_backend_pid()"); got != fmt.Sprint(p.pid) {
			t.Errorf("client %d was told of %d, and has %s", i, p.pid, got)
		}
		if i > 0 && (p.pid == pid) != (w == last) {
			t.Errorf("client %d has server %d, the one before it had %d", i, p.pid, pid)
		}
		if n := f.count(t, fmt.Sprintf("usename = '%s'", f.role)); n > 1 { // an ended process may still be there
			soon(t, "the old server has gone", func() bool { return f.count(t, fmt.Sprintf("usename = '%s'", f.role)) == 1 })
		}
		last, pid = w, p.pid
		p.leave()
		soon(t, "the server is free", func() bool { st := f.PoolStats(); return st.Idle == 1 && st.Leased == 0 })
	}
}

// TestBadSettingsOfASession: PostgreSQL's refusal of a setting ends the login, in PostgreSQL's words; nobody else notices. What only a
// startup packet could set is refused as SET refuses it.
func TestBadSettingsOfASession(t *testing.T) {
	t.Parallel()
	f := startPlain(t, inMode(pool.Session, 2))
	for setting, code := range map[string]string{
		"TimeZone=Nowhere/Land": "22023", "statement_timeout=soon": "22023", "nonsense=1": "42704", "fsync=off": "55P02",
		"session_replication_role=replica": "42501", "log_statement=all": "42501", "row_security=perhaps": "22023",
		"ignore_system_indexes=on": "55P02", "post_auth_delay=1": "55P02", "log_connections=on": "55P02 42501",
		"options=-c user=postgres": "42704", "options=-c Database=template1": "42704", "options=-c replication=on": "42704",
		"options=-c options=-crole=x": "42704", "options=-c _pq_.x=1": "42704", "options=-c role=postgres": "0A000", "options=--session-authorization=x": "0A000",
	} {
		name, value, _ := strings.Cut(setting, "=")
		got := f.dial(t).start(3<<16, f.role, [2]string{name, value}).gone()
		ok := false
		for code := range strings.FieldsSeq(code) {
			ok = ok || strings.HasSuffix(got, "E("+code+" fatal) EOF") && !strings.Contains(got, "Z(")
		}
		if !ok {
			t.Errorf("%s: told %s, want %s", setting, got, code)
		}
		began := time.Now()
		good := f.login(t)
		good.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
		good.leave()
		if took := time.Since(began); took > patience/2 {
			t.Errorf("%s: the next client waited %v", setting, took)
		}
	}
}

// TestLongSettingsOfASession: settings that are too long for a startup packet hold all the same.
func TestLongSettingsOfASession(t *testing.T) {
	t.Parallel()
	f := startPlain(t, inMode(pool.Session, 1))
	long := strings.Repeat("x", 7000)
	p := f.login(t, [2]string{"my.own", long}, [2]string{"datestyle", "german"})
	if got := p.one("SELECT length(current_setting('my.own')) || current_setting('datestyle')"); got != "7000German, DMY" {
		t.Errorf("the session has %s", got)
	}
}

// TestLeavingWhileAServerIsReopened: clients that hang up while their server is opened anew leave nothing behind.
func TestLeavingWhileAServerIsReopened(t *testing.T) {
	t.Parallel()
	f := startPlain(t, inMode(pool.Session, 2))
	for i := range 30 {
		f.open(t).start(3<<16, f.role, [2]string{"application_name", fmt.Sprint(i)}).Close()
	}
	soon(t, "all have left", func() bool {
		st := f.PoolStats()
		return f.Clients() == 0 && st.Leased == 0 && st.Opening == 0 && st.Waiting == 0
	})
	for i := range 4 {
		p := f.login(t, [2]string{"application_name", fmt.Sprint("later ", i)})
		if got := p.one("SELECT current_setting('application_name')"); got != fmt.Sprint("later ", i) {
			t.Errorf("client %d is called %s", i, got)
		}
		p.leave()
	}
}

// TestReopenedServersAreCounted: the first session's server is opened with its settings at once.
func TestReopenedServersAreCounted(t *testing.T) {
	t.Parallel()
	f := startPlain(t, inMode(pool.Session, 1))
	f.login(t, [2]string{"application_name", "first"}).leave()
	if st := f.PoolStats(); st.Opened != 1 || st.Closed[pool.OtherSettings] != 0 {
		t.Errorf("%d opened, %d closed for other settings", st.Opened, st.Closed[pool.OtherSettings])
	}
	f.login(t, [2]string{"application_name", "second"}).leave()
	if st := f.PoolStats(); st.Opened != 2 || st.Closed[pool.OtherSettings] != 1 {
		t.Errorf("then %d opened, %d closed for other settings", st.Opened, st.Closed[pool.OtherSettings])
	}
}
