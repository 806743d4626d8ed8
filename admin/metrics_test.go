package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	options "flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/claimpool/claimpool"
	_ "github.com/claimpool/claimpool/pgtest" // declares -update
)

// fixed is a Meter.
type fixed struct {
	all *Measures
	err error
}

func (f fixed) Measure(context.Context) (*Measures, error) { return f.all, f.err }

const (
	adminToken  = "0123456789abcdef0123456789abcdef"
	metricToken = "fedcba9876543210fedcba9876543210"
)

// scrapeOnce asks for /metrics.
func scrapeOnce(t *testing.T, m Meter, tokens []claimpool.Secret, bearer string) (int, string) {
	t.Helper()
	h := MetricsHandler(tokens, m, Build{"1.2", "abc", "go1.26"}, nil, slog.New(slog.DiscardHandler))
	r := httptest.NewRequest("GET", "/metrics", nil)
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func full() *Measures {
	pool := PoolMeasures{
		Database: "shop", Role: `app"\` + "\n", Mode: "transaction", Active: 2, Idle: 1, Clients: 5, Working: 1, Waiting: 1, LongestWait: 1500 * time.Millisecond,
		Size: 4, QueueWait: time.Minute, Handovers: map[string]uint64{"none": 7, "switch": 3}, Transactions: 10, Closed: map[string]uint64{"lifetime": 1},
	}
	pool.Held.Add(2 * time.Millisecond)
	pool.Held.Add(time.Hour)
	return &Measures{
		Pools: []PoolMeasures{pool}, Clients: 6, Streams: 1, Ready: true,
		Logins:  []LoginMeasures{{Method: "", Left: 1, Refused: map[string]uint64{"08": 2}}, {Method: "jwt", Accepted: 5, Refused: map[string]uint64{"28": 1}}},
		Refused: map[string]uint64{"53": 1}, CutOff: map[string]uint64{"57": 2},
		Issuers:     []IssuerMeasures{{Name: "new", Age: -1}, {Name: "old", Fetches: 3, Failures: 1, Keys: 2, Age: time.Minute}},
		Revocations: &RevocationMeasures{Entries: 3, Age: time.Second}, Audit: &AuditMeasures{Written: 4, Queue: 9, Failing: true},
	}
}

// What is shown is what was measured, in a form and with names that Prometheus likes; every metric is shown.
func TestMetrics(t *testing.T) {
	status, text := scrapeOnce(t, fixed{all: full()}, []claimpool.Secret{claimpool.Secret(metricToken)}, metricToken)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatalf("it cannot be parsed: %v\n%s", err, text)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	const role = `{database="shop",role="app\"\\\n"`
	for _, line := range []string{
		`claimpool_build_info{goversion="go1.26",revision="abc",version="1.2"} 1`,
		`claimpool_pool_clients{database="shop",role="app\"\\\n",state="idle",target=""} 3`,
		`claimpool_pool_longest_wait_seconds` + role + `,target=""} 1.5`,
		`claimpool_handovers_total{database="shop",kind="switch",role="app\"\\\n",target=""} 3`,
		`claimpool_transaction_duration_seconds_bucket` + role + `,target="",le="0.001"} 0`,
		`claimpool_transaction_duration_seconds_bucket` + role + `,target="",le="0.005"} 1`,
		`claimpool_transaction_duration_seconds_bucket` + role + `,target="",le="+Inf"} 2`,
		`claimpool_transaction_duration_seconds_count` + role + `,target=""} 2`,
		`claimpool_logins_total{method="none",outcome="refused",sqlstate_class="08"} 2`,
		`claimpool_logins_total{method="jwt",outcome="accepted",sqlstate_class="00"} 5`,
		`claimpool_key_fetches_total{issuer="old",outcome="ok"} 2`,
		`claimpool_key_age_seconds{issuer="old"} 60`,
		`claimpool_audit_failing 1`,
		`claimpool_ready 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if strings.Contains(text, `claimpool_key_age_seconds{issuer="new"}`) {
		t.Error("an age of what has not been fetched yet")
	}
	for _, m := range metrics {
		if !strings.Contains(text, "# TYPE "+m.name+" "+m.kind+"\n") {
			t.Errorf("%s is not shown, or is no %s", m.name, m.kind)
		}
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("%s is missing", name)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestAttackMetricsWithoutToken: the attacker reaches the endpoint and wants to know what goes on, or has the token of a scraper and wants more.
// He comes without a token, with a wrong or an empty one, or where the tokens are empty or too short.
//
// Must: Without a good token the answer must be 401 and say nothing; the token of a scraper must open GET /metrics alone; a fault must not be explained.
// Dialects: none
func TestAttackMetricsWithoutToken(t *testing.T) {
	both := []claimpool.Secret{claimpool.Secret(adminToken), claimpool.Secret(metricToken)}
	for name, test := range map[string]struct {
		tokens []claimpool.Secret
		bearer string
		status int
	}{
		"none":                 {both, "", 401},
		"a wrong one":          {both, metricToken + "x", 401},
		"the scraper's":        {both, metricToken, 200},
		"the administrators'":  {both, adminToken, 200},
		"no tokens":            {nil, metricToken, 401},
		"an empty one":         {[]claimpool.Secret{{}}, "", 401},
		"a short one":          {[]claimpool.Secret{claimpool.Secret("short")}, "short", 401},
		"a good one, among it": {[]claimpool.Secret{nil, claimpool.Secret(metricToken)}, metricToken, 200},
	} {
		if status, text := scrapeOnce(t, fixed{all: full()}, test.tokens, test.bearer); status != test.status || status != 200 && strings.Contains(text, "claimpool_") {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, text := scrapeOnce(t, fixed{err: errors.New("a secret reason")}, both, metricToken); status != 500 || strings.Contains(text, "secret") {
		t.Errorf("%d %s", status, text)
	}

	log := slog.New(slog.DiscardHandler)
	health := HealthHandler(&Health{Alive: func(context.Context) bool { return true }, Ready: func() bool { return false }})
	all := Monitored(Handler(both[0], nil, nil, nil, log), MetricsHandler(both, fixed{all: full()}, Build{}, nil, log), health)
	for _, test := range []struct {
		method, path, bearer string
		status               int
	}{
		{"GET", "/metrics", metricToken, 200}, {"POST", "/metrics", metricToken, 401}, {"GET", "/metrics/", metricToken, 401},
		{"GET", "/pools", metricToken, 401}, {"GET", "/revocations", metricToken, 401}, {"POST", "/revocations", metricToken, 401},
		{"GET", "/metrics", "", 401}, {"GET", "/healthz", "", 200}, {"GET", "/readyz", "", 503}, {"POST", "/healthz", "", 401}, {"GET", "/", "", 401},
		{"GET", "//pools", "", 401}, {"GET", "/metrics/../pools", metricToken, 401}, {"GET", "/healthz/../pools", "", 401}, {"GET", "//metrics", "", 401},
	} {
		r := httptest.NewRequest(test.method, test.path, nil)
		r.Header.Set("Authorization", "Bearer "+test.bearer)
		w := httptest.NewRecorder()
		all.ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%s %s: %d", test.method, test.path, w.Code)
		}
		if body := w.Body.String(); strings.HasSuffix(test.path, "z") && w.Code != 401 && body != "ok\n" && body != "not ok\n" {
			t.Errorf("%s says %q", test.path, body)
		}
	}
}

// TestAttackManyPools: the attackers are clients with tokens for very many roles, or for names that are no text. They want the metrics to
// fill the memory of the proxy or of whoever keeps them, or to be lost.
//
// Must: The answer must be bounded whatever the roles are, lose no count, and stay readable.
// Dialects: none
func TestAttackManyPools(t *testing.T) {
	all := &Measures{}
	for i := range 20 * maxPools {
		all.Pools = append(all.Pools, PoolMeasures{Database: "shop", Role: fmt.Sprintf("role%05d", i), Mode: "transaction", Transactions: 1, Clients: 2, Size: 1})
	}
	all.Pools = append([]PoolMeasures{{Database: "shop", Role: "\xff", Mode: "transaction", Transactions: 5}, {Database: "shop", Role: "\xfe", Mode: "transaction", Transactions: 6}}, all.Pools...)
	status, text := scrapeOnce(t, fixed{all: all}, []claimpool.Secret{claimpool.Secret(metricToken)}, metricToken)
	if status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	whole := regexp.MustCompile(`^(#.*|[a-z_]+(\{([a-z_]+="[^"\n]*",?)*\})? [0-9.e+-]+|[a-z_]+_bucket\{.*\} [0-9]+)\n$`)
	for line := range strings.Lines(text) {
		if !whole.MatchString(line) {
			t.Fatalf("no metric: %q", line)
		}
	}
	sum, series := 0, 0
	for _, m := range regexp.MustCompile(`(?m)^claimpool_transactions_total\{.*\} (\d+)$`).FindAllStringSubmatch(text, -1) {
		var n int
		fmt.Sscan(m[1], &n)
		sum += n
		series++
	}
	if want := 20*maxPools + 11; sum != want || series != maxPools+1 {
		t.Errorf("%d transactions in %d series", sum, series)
	}
	if !strings.Contains(text, `claimpool_transactions_total{database="shop",role="`+"\ufffd"+`",target=""} 11`) {
		t.Error("names that are no text are lost")
	}
	if len(text) > 4<<20 {
		t.Errorf("%d bytes", len(text))
	}
}

// TestAttackDatabasesWithoutEnd: the attackers are clients of a proxy whose configuration has the entry "*". They ask for one database after
// the other, to leave a series of metrics behind for each name.
//
// Must: All of them must be one, with all counts.
// Dialects: none
func TestAttackDatabasesWithoutEnd(t *testing.T) {
	all := &Measures{Pools: []PoolMeasures{{Database: "shop", Role: "r", Transactions: 3}}}
	for i := range 10 {
		all.Pools = append(all.Pools, PoolMeasures{Database: fmt.Sprintf("name%d", i), Role: "r", Unlisted: true, Transactions: 1})
	}
	_, text := scrapeOnce(t, fixed{all: all}, []claimpool.Secret{claimpool.Secret(metricToken)}, metricToken)
	for _, want := range []string{`{database="*",role="r",target=""} 10`, `{database="shop",role="r",target=""} 3`} {
		if !strings.Contains(text, "claimpool_transactions_total"+want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	if strings.Contains(text, "name1") {
		t.Error("a client's word is a label")
	}
}

// Whoever asks often is answered from memory, and a proxy that does not answer is not alive.
func TestHealthIsKept(t *testing.T) {
	asked := 0
	h := &Health{Alive: func(ctx context.Context) bool { asked++; return asked > 1 }, Ready: func() bool { return true }}
	for range 3 {
		if h.isAlive(t.Context()) {
			t.Error("alive")
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	h.asked = h.asked.Add(-healthKept)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // whoever has asked leaves
	if !h.isAlive(ctx) || asked != 2 {
		t.Errorf("not alive, asked %d times", asked)
	}
}

// TestMetricsThatPagesSpeakOf: alerts, the dashboard and the how-to name metrics and labels that there are.
func TestMetricsThatPagesSpeakOf(t *testing.T) {
	labels := map[string][]string{}
	for _, m := range metrics {
		labels[m.name] = append([]string{"job"}, m.labels...)
		if m.kind == "histogram" {
			labels[m.name+"_bucket"] = append([]string{"le"}, labels[m.name]...)
		}
	}
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	const dashboard = "../deploy/grafana/claimpool.json"
	data, err := os.ReadFile(dashboard)
	if err == nil {
		err = json.Unmarshal(data, &board)
	}
	if err != nil || len(board.Panels) < 10 {
		t.Fatalf("%d panels: %v", len(board.Panels), err)
	}
	texts := map[string]string{}
	for i, p := range board.Panels {
		if p.ID != i+1 || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d: %+v", i, p)
		}
		for _, target := range p.Targets {
			texts[p.Title] += target.Expr + "\n"
		}
	}
	page, err := os.ReadFile("../docs/howto/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	texts["the how-to"] = string(page)
	found := 0
	for where, text := range texts {
		for _, m := range regexp.MustCompile(`(claimpool_[a-z_]*[a-z])(?:\{([^}\n]*)\})?`).FindAllStringSubmatch(text, -1) {
			known, ok := labels[m[1]]
			if !ok && m[1] != "claimpool_" {
				t.Errorf("%s: there is no metric %s", where, m[1])
			}
			for _, label := range regexp.MustCompile(`([a-z_]+)=~?"`).FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(known, label[1]) {
					t.Errorf("%s: %s has no label %s", where, m[1], label[1])
				}
			}
			found++
		}
	}
	if found < 30 {
		t.Errorf("%d metrics are named", found)
	}
}

//go:generate go test -run ^TestMetricsPage$ . -update

// TestMetricsPage compares docs/reference/metrics.md with the list of metrics; -update rewrites it.
func TestMetricsPage(t *testing.T) {
	const path = "../docs/reference/metrics.md"
	var page bytes.Buffer
	fmt.Fprint(&page, "# Metrics\n\n<!-- Generated from admin/metric.go by \"go generate ./admin\". Do not edit. -->\n\n",
		"What `GET /metrics` shows, besides those of the Go runtime (`go_…`) and the process (`process_…`): [how to read them](../howto/metrics.md).\n",
		"Counts begin at the start of the proxy; those of a pool, which has a `database`, a `role`, and a `target` where databases have some, begin when it is made, and a pool that nobody uses is\n",
		"forgotten with its counts. Of more than ", maxPools, " pools the last are shown as one, without names.\n",
		"Databases that the entry `\"*\"` stands for are shown as one, named `*`.\n\n",
		"| metric | kind | labels | what |\n|---|---|---|---|\n")
	for _, m := range metrics {
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, m.help)
	}
	page.WriteString("\nThe buckets of all histograms end at")
	for _, b := range claimpool.DurationBounds {
		fmt.Fprintf(&page, " %g,", b.Seconds())
	}
	page.Truncate(page.Len() - 1)
	page.WriteString(" seconds.\n")
	if options.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, page.Bytes()) {
		t.Errorf("%s is not what is shown; run: go generate ./admin (%v)", path, err)
	}
}
