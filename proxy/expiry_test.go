package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// withTokens gives the proxy limits for tokens, in a pool mode.
func withTokens(mode pool.Mode, change func(*proxy.Limits)) func(*pgtest.ProxyOptions) {
	return func(o *pgtest.ProxyOptions) {
		inMode(mode, 2)(o)
		o.Limits = proxy.Limits{MaxClients: 100, MaxLogins: 10, LoginTimeout: patience}
		change(&o.Limits)
	}
}

// TestIdleClientsAreSignedOut: a client that does nothing when its token ends is told so and disconnected; in session mode it
// would hold a server for ever.
func TestIdleClientsAreSignedOut(t *testing.T) {
	for _, mode := range []pool.Mode{pool.Transaction, pool.Session} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel() // it waits
			f := startTenants(t, pgtest.Newest(t), withTokens(mode, func(*proxy.Limits) {}))
			p, _ := f.ending(t, 4)
			p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
			if got := p.gone(); got != "E(28000 fatal) EOF" {
				t.Errorf("told %s", got)
			}
		})
	}
}

// TestGrace: within the grace a client whose token has ended stays, and each of its requests is refused as a whole, also
// while the server that its session holds has news for it. Then it has to go.
func TestGrace(t *testing.T) {
	for _, mode := range []pool.Mode{pool.Transaction, pool.Session} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel() // it waits
			f := startTenants(t, pgtest.Newest(t), withTokens(mode, func(l *proxy.Limits) { l.TokenGrace = 6 * time.Second }))
			admin := f.admin(t)
			p, _ := f.ending(t, 4)
			p.expect("LISTEN gossip", "C(LISTEN) Z(I)")
			soon(t, "the end of the token", func() bool { return strings.HasPrefix(p.ask("SELECT 1"), "E(28000)") })
			p.expect("SELECT 1", "E(28000) Z(I)")
			batch := wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "SELECT 1"), "", "", nil), "", 0)
			p.send(batch)
			if word, _ := p.message(); word != "E(28000)" {
				t.Errorf("the batch was answered with %s", word)
			}
			run(t, admin, "NOTIFY gossip") // half a batch is being skipped
			p.send(batch, wire.AppendSync(nil))
			if got := strings.TrimPrefix(p.answer(), "A "); got != "Z(I)" {
				t.Errorf("behind the batch: %s", got)
			}
			if got := p.gone(); strings.TrimPrefix(got, "A ") != "E(28000 fatal) EOF" {
				t.Errorf("told %s", got)
			}
		})
	}
}

// TestTokenWarning: some time before the end of its token a client gets one notice, while it is idle or behind an answer.
func TestTokenWarning(t *testing.T) {
	t.Parallel() // it waits
	f := startTenants(t, pgtest.Newest(t), withTokens(pool.Transaction, func(l *proxy.Limits) { l.TokenWarning = 40 * time.Second }))
	idle, late := f.rawWith(t, f.shortLived(30)), f.rawWith(t, f.shortLived(3000))
	const slow, slept = "SELECT 1 FROM pg_sleep(1.5)", "T D(1) C(SELECT 1) Z(I)"
	busy, got := (*peer)(nil), "N "+slept
	for range 10 {
		if got != "N "+slept { // otherwise the look at the clock came between its login and its query
			break
		}
		busy = f.rawWith(t, f.shortLived(30))
		got = busy.ask(slow)
	}
	if word, _ := idle.message(); word != "N" {
		t.Errorf("the idle client was told %s", word)
	}
	if got != slept {
		t.Errorf("in the middle of the answer: %s", got)
	}
	if word, _ := busy.message(); word != "N" {
		t.Errorf("behind the answer came %s", word)
	}
	for _, p := range []*peer{idle, busy, late} {
		p.expect(slow, slept) // over more than one look at the clock: once is enough
		p.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	}
}
