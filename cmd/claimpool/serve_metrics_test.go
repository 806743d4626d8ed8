package main

import (
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/pgtest"
)

const (
	adminSecret  = "0123456789abcdef0123456789abcdef"
	metricSecret = "fedcba9876543210fedcba9876543210"
)

// watched starts a proxy with all endpoints and gives the addresses of /metrics and of /healthz.
func (s *stage) watched(more string) (p *process, admin, health string) {
	s.put("admin.token", []byte(adminSecret+"\n"))
	s.put("metrics.token", []byte(metricSecret+"\n"))
	s.settings["more"] += "admin: {listen: '127.0.0.1:0', token: {file: admin.token}, metrics_token: {file: metrics.token}, health_listen: '127.0.0.1:0'}\n" + more
	p = s.serve()
	return p, p.await("listening for admin", 1)["addr"].(string), p.await("listening for health", 1)["addr"].(string)
}

// sample is one look at /metrics.
type sample struct {
	t    *testing.T
	text string
}

func look(t *testing.T, admin string) sample {
	t.Helper()
	status, text := call(t, "GET", admin, "/metrics", "", "", metricSecret)
	if status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	return sample{t, text}
}

// of adds up the metrics with a name and all of the labels; -1 when there is none.
func (s sample) of(name string, labels ...string) float64 {
	s.t.Helper()
	sum, found := 0.0, false
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{(.*)\})? (\S+)$`).FindAllStringSubmatch(s.text, -1) {
		all := true
		for _, l := range labels {
			all = all && strings.Contains(","+m[1]+",", ","+l+",")
		}
		if n, err := strconv.ParseFloat(m[2], 64); err == nil && all {
			sum, found = sum+n, true
		}
	}
	if !found {
		return -1
	}
	return sum
}

// TestServeMetrics: the counts move by exactly what was done, and the endpoints say whether clients are welcome.
func TestServeMetrics(t *testing.T) {
	s := newStage(t)
	s.settings["size"] = "1"
	p, admin, health := s.watched("audit: {to: file, file: audit.jsonl}\n")
	role := `role="` + s.role + `"`
	s.seenFromOutside(admin, health)

	ada := s.login(p, "t1")
	bob, err := s.dial(p, s.role, s.issuer.Mint("bob", nil), "server.test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.dial(p, s.role, "no token", "server.test"); err == nil {
		t.Fatal("in without a token")
	}
	var before sample
	soon(t, "the logins are counted", func() bool { // their clients have heard of it before
		before = look(t, admin)
		return before.of("claimpool_logins_total", `outcome="accepted"`) == 2
	})
	for range 3 {
		s.one(ada, "SELECT 'a'") // the first needs a hand-over
	}
	s.one(bob, "SELECT 'b'") // and this one
	s.seenToWait(admin, ada, bob)

	after := look(t, admin)
	for _, test := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{6, "claimpool_transactions_total", []string{role, `database="app"`}},
		{6, "claimpool_transaction_duration_seconds_count", []string{role}},
		{1, "claimpool_handovers_total", []string{role, `kind="first"`}},
		{3, "claimpool_handovers_total", []string{role, `kind="switch"`}},
		{6, "claimpool_handovers_total", []string{role}}, // the other two are none; or renew, where the machine has slept for seconds in between
		{0, "claimpool_handovers_total", []string{role, `kind="reset"`}},
		{1, "claimpool_queue_wait_seconds_count", []string{role}},
		{0, "claimpool_queue_refusals_total", []string{role}},
		{0, "claimpool_server_connections_opened_total", []string{role}},
		{0, "claimpool_logins_total", nil},
	} {
		if got := after.of(test.name, test.labels...) - before.of(test.name, test.labels...); got != test.want {
			t.Errorf("%s %v has moved by %g, not %g", test.name, test.labels, got, test.want)
		}
	}
	for _, test := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{1, "claimpool_pool_info", []string{role, `mode="transaction"`}},
		{1, "claimpool_pool_max_servers", []string{role}},
		{2, "claimpool_clients", nil},
		{2, "claimpool_pool_clients", []string{role}},
		{1, "claimpool_server_connections_opened_total", []string{role}},
		{2, "claimpool_logins_total", []string{`method="jwt"`, `outcome="accepted"`, `sqlstate_class="00"`}},
		{1, "claimpool_logins_total", []string{`method="jwt"`, `outcome="refused"`, `sqlstate_class="28"`}},
		{2, "claimpool_login_duration_seconds_count", []string{`method="jwt"`}},
		{2, "claimpool_signature_cache_requests_total", []string{`result="miss"`}},
		{2, "claimpool_signature_cache_entries", nil},
		{0, "claimpool_audit_events_total", []string{`outcome="lost"`}},
		{1, "claimpool_ready", nil},
	} {
		if got := after.of(test.name, test.labels...); got != test.want {
			t.Errorf("%s %v is %g, not %g", test.name, test.labels, got, test.want)
		}
	}
	for _, name := range []string{"claimpool_relayed_bytes_total", "claimpool_audit_events_total"} {
		if after.of(name) <= 0 {
			t.Errorf("%s does not move", name)
		}
	}
	if t.Failed() {
		t.Log(after.text)
	}
	s.drainsVisibly(p, ada, health)
}

// drainsVisibly ends the proxy while a transaction is open: it is alive, but not ready.
func (s *stage) drainsVisibly(p *process, c *pgx.Conn, health string) {
	t := s.t
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	soon(t, "not ready", func() bool {
		status, text := call(t, "GET", health, "/readyz", "", "", "")
		return status == 503 && text == "not ok\n"
	})
	if status, text := call(t, "GET", health, "/healthz", "", "", ""); status != 200 || text != "ok\n" {
		t.Errorf("%d %q", status, text)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	p.exits()
}

// TestAttackMetricsNameNobody: the attacker reads the metrics, which go to more people and places than the log. He wants to know who uses the
// proxy, from where, what they ask, or what they prove themselves with; and as a client he tries to put words of his own into them.
//
// Must: Neither the metrics nor what is said without a token may hold a subject, a claim, an issuer, a token, an address, a password, a query, a channel or a setting of any client, or the name that somebody was refused under.
// Dialects: none
func TestAttackMetricsNameNobody(t *testing.T) {
	s := newStage(t)
	s.withRevocations()
	p, admin, health := s.watched("audit: {to: file, file: audit.jsonl}\n")
	token := s.issuer.Mint("subject-of-the-secret", map[string]any{"tenant_id": "claim-of-the-secret", "jti": "id-of-the-secret", "sid": "session-of-the-secret"})
	c, err := s.dial(p, s.role, token, "server.test")
	if err != nil {
		t.Fatal(err)
	}
	s.one(c, "SELECT 'query-of-the-secret'")
	if _, err := c.Exec(t.Context(), `SET application_name = 'setting-of-the-secret'`); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), `SELECT 1 FROM "table-of-the-secret"`); err == nil {
		t.Fatal("the table is there")
	}
	for _, user := range []string{"stranger-of-the-secret", s.role} {
		if _, err := s.dial(p, user, "password-of-the-secret", "server.test"); err == nil {
			t.Fatal("in with a wrong password")
		}
	}
	if status, _ := call(t, "GET", admin, "/path-of-the-secret", "", "", "bearer-of-the-secret"); status != 401 {
		t.Errorf("%d", status)
	}
	_, port, _ := net.SplitHostPort(c.PgConn().Conn().LocalAddr().String())
	var all string
	soon(t, "the login is counted", func() bool {
		seen := look(t, admin)
		all = seen.text
		return seen.of("claimpool_logins_total", `outcome="accepted"`) == 1 && seen.of("claimpool_revocations") == 0
	})
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		_, text := call(t, "GET", health, path, "", "", "")
		_, more := call(t, "GET", admin, path, "", "", "")
		all += text + more
	}
	for _, word := range []string{
		"of-the-secret", token, strings.Split(token, ".")[2], "issuer.test", "127.0.0.1", ":" + port, adminSecret, metricSecret, "SELECT", "k1\"",
	} {
		if i := strings.Index(all, word); i >= 0 {
			t.Errorf("%q is told: %s", word, all[max(0, i-100):min(len(all), i+100)])
		}
	}
}

// Keys that are fetched, and revocations, are seen with their ages.
func TestServeMetricsOfKeys(t *testing.T) {
	s := newStage(t)
	s.withRevocations()
	_, goodLine := s.provide("good")
	down, downLine := s.provide("down")
	down.Instead(pgtest.DiscoveryPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	s.settings["issuers"] = strings.ReplaceAll(goodLine+downLine, "audience", "max_lifetime: 1h, audience")
	before := time.Now()
	_, admin, _ := s.watched("")
	const good, bad = `issuer="good"`, `issuer="down"`
	var seen sample
	soon(t, "everything is read", func() bool {
		seen = look(t, admin)
		return seen.of("claimpool_revocations_age_seconds") >= 0 && seen.of("claimpool_key_age_seconds", good) >= 0 && seen.of("claimpool_key_fetches_total", bad, `outcome="failed"`) >= 1
	})
	for _, age := range []float64{seen.of("claimpool_revocations_age_seconds"), seen.of("claimpool_key_age_seconds", good)} {
		if age > time.Since(before).Seconds() {
			t.Errorf("%g s", age)
		}
	}
	for _, test := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{0, "claimpool_revocations", nil}, {1, "claimpool_keys", []string{good}}, {0, "claimpool_keys", []string{bad}},
		{1, "claimpool_key_fetches_total", []string{good, `outcome="ok"`}}, {0, "claimpool_key_fetches_total", []string{bad, `outcome="ok"`}},
		{0, "claimpool_key_fetches_total", []string{good, `outcome="failed"`}}, {-1, "claimpool_key_age_seconds", []string{bad}},
	} {
		if got := seen.of(test.name, test.labels...); got != test.want {
			t.Errorf("%s %v is %g, not %g", test.name, test.labels, got, test.want)
		}
	}
}

// seenFromOutside tries what each token opens.
func (s *stage) seenFromOutside(admin, health string) {
	t := s.t
	for _, address := range []string{admin, health} {
		for _, path := range []string{"/healthz", "/readyz"} {
			if status, text := call(t, "GET", address, path, "", "", ""); status != 200 || text != "ok\n" {
				t.Errorf("%s: %d %q", path, status, text)
			}
		}
	}
	if status, _ := call(t, "GET", health, "/metrics", "", "", adminSecret); status != 404 {
		t.Errorf("metrics for everybody: %d", status)
	}
	if status, _ := call(t, "GET", admin, "/pools", "", "", metricSecret); status != 401 {
		t.Errorf("the pools for a scraper: %d", status)
	}
}

// seenToWait lets one wait for the other.
func (s *stage) seenToWait(admin string, ada, bob *pgx.Conn) {
	t, role := s.t, `role="`+s.role+`"`
	tx, err := ada.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := bob.Exec(t.Context(), "SELECT 'b'")
		waited <- err
	}()
	var during sample
	soon(t, "bob waits", func() bool {
		during = look(t, admin)
		return during.of("claimpool_pool_clients", role, `state="waiting"`) == 1 && during.of("claimpool_pool_longest_wait_seconds", role) > 0
	})
	if during.of("claimpool_pool_servers", role, `state="active"`) != 1 || during.of("claimpool_pool_clients", role, `state="active"`) != 1 {
		t.Error(during.text)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
}
