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

// TestIdleTimeoutOfTheUnsure: a client that has mixed the two protocols, so that nobody can tell what is still to be answered, keeps its
// server, but not for longer than it might in a transaction.
func TestIdleTimeoutOfTheUnsure(t *testing.T) {
	t.Parallel() // it waits
	f := startPlain(t, func(o *pgtest.ProxyOptions) {
		limits(func(l *proxy.Limits) { l.TransactionIdleTimeout = 300 * time.Millisecond })(o)
		o.Pool.Size = 1
	})
	p, next := f.login(t), f.login(t)
	p.send(extended("SELECT 1"), wire.AppendQuery(nil, "SELECT 2"), wire.AppendSync(nil))
	next.query("SELECT 3")
	between := "Z(I)"
	if pgtest.Newest(t).Major >= 18 { // there it is one transaction with what comes before
		between = "Z(T)"
	}
	if got := p.gone(); !strings.HasSuffix(got, "D(2) C(SELECT 1) "+between+" Z(I) E(25P03 fatal) EOF") {
		t.Errorf("told %s", got)
	}
	if got := next.answer(); got != "T D(3) C(SELECT 1) Z(I)" {
		t.Errorf("the next client got %s", got)
	}
}

// TestIdleTimeoutOfTheRefused: so is a client that leaves out the Sync of a batch that was refused.
func TestIdleTimeoutOfTheRefused(t *testing.T) {
	t.Parallel() // it waits
	f, _ := full(t, func(o *pgtest.ProxyOptions) {
		limits(func(l *proxy.Limits) { l.IdleTimeout = 300 * time.Millisecond })(o)
		o.Pool.QueueLength = 0
	})
	p := f.login(t)
	p.send(extended("SELECT 1"))
	if got := p.gone(); got != "E(53300) E(57P05 fatal) EOF" {
		t.Errorf("told %s", got)
	}
}

// TestGraceOfTheRefused: and when its token has ended, it goes with the grace.
func TestGraceOfTheRefused(t *testing.T) {
	for _, mode := range []pool.Mode{pool.Transaction, pool.Session} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel() // it waits
			f := startTenants(t, pgtest.Newest(t), withTokens(mode, func(l *proxy.Limits) { l.TokenGrace = 5 * time.Second }))
			p, end := f.ending(t, 2)
			soon(t, "the end of the token", func() bool { return time.Now().After(end) })
			p.send(extended("SELECT 1"))
			if got := p.gone(); got != "E(28000) E(28000 fatal) EOF" {
				t.Errorf("told %s", got)
			}
		})
	}
}

// TestTimeoutsOfTheGone: what a client has asked for before its goodbye is carried out within the limits that it would have had itself.
func TestTimeoutsOfTheGone(t *testing.T) {
	const slow = "SELECT 1 FROM pg_sleep(100)"
	for name, test := range map[string]struct {
		limits func(*proxy.Limits)
		asks   []string
	}{
		"a transaction that takes too long":        {func(l *proxy.Limits) { l.TransactionTimeout = 3 * time.Second }, []string{slow}},
		"one that outlives the token for too long": {func(l *proxy.Limits) { l.Overrun = time.Second }, []string{slow}},
		"one behind the end of the token":          {func(*proxy.Limits) {}, []string{"SELECT 1 FROM pg_sleep(5)", slow, slow}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits
			f := startTenants(t, pgtest.Newest(t), withTokens(pool.Transaction, test.limits))
			admin := f.admin(t)
			p, _ := f.ending(t, 4)
			for _, sql := range test.asks {
				p.query(sql)
			}
			sleeps := func() string {
				return value(t, admin, "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = '"+f.database+"'")
			}
			soon(t, "it runs", func() bool { return sleeps() == "1" })
			p.leave()
			soon(t, "it has ended", func() bool {
				return sleeps() == "0" && f.Clients() == 0 && strings.Contains(f.Log.String(), "reason=left_in_query")
			})
		})
	}
}

// TestTimeoutsOfLogins: a login waits for a database server that does not answer until the first of two limits has passed, and is told so;
// one that waits for its client ends without a word.
func TestTimeoutsOfLogins(t *testing.T) {
	t.Parallel() // it waits
	for name, test := range map[string]struct {
		login, connect time.Duration
		want, log      string
	}{
		"login_timeout":   {1500 * time.Millisecond, time.Minute, "57P03", "no database server answered in time"},
		"connect_timeout": {patience, 1500 * time.Millisecond, "08006", "could not log in to the database server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := startFake(t)
			fake.misbehave(hang, nil)
			f := startBefore(t, fake, func(o *pgtest.ProxyOptions) {
				limits(func(l *proxy.Limits) { l.LoginTimeout = test.login })(o)
				o.Server.ConnectTimeout = test.connect
			})
			if got := f.dial(t).start(wire.Version30, f.role).answer(); got != "E("+test.want+" fatal) EOF" {
				t.Errorf("told %s", got)
			}
			if !strings.Contains(f.Log.String(), test.log) {
				t.Errorf("the log does not say %q", test.log)
			}
		})
	}
	f := startPlain(t, limits(func(l *proxy.Limits) { l.LoginTimeout = 300 * time.Millisecond }))
	p := f.dial(t)
	p.send([]byte{0, 0, 0})
	if got := p.gone(); got != "EOF" {
		t.Errorf("a silent stranger was told %s", got)
	}
}
