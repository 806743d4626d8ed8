package proxy_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/admin"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/revocation"
	"github.com/claimpool/claimpool/wire"
)

// consoled is a proxy with a console, called "console", for ann, who steers, and rea, who reads.
type consoled struct {
	*plain
	issuer  *pgtest.Issuer
	set     *revocation.Set
	console *admin.Console
	demoted atomic.Bool // ann has no rights any more
	idle    time.Duration
}

// kept is a table of revocations in memory.
type kept struct{ f *consoled }

// Revoke is part of admin.Revocations.
func (k kept) Revoke(_ context.Context, list []revocation.Entry, _ *claimpool.Mark) error {
	for i := range list {
		if list[i].Made = time.Now(); list[i].Before.IsZero() {
			list[i].Before = list[i].Made
		}
	}
	k.f.set.Add(list, time.Now())
	k.f.SignOut()
	return nil
}

// Undo is part of admin.Revocations.
func (k kept) Undo(context.Context, int64, string) error { return revocation.ErrUnknown }

// List is part of admin.Revocations.
func (k kept) List(context.Context) ([]revocation.Entry, error) { return nil, nil }

func (f *consoled) rights(id *claimpool.Identity) admin.Right {
	switch {
	case id.Issuer != "https://issuer.test" || id.Method != claimpool.MethodJWT:
		return admin.Nothing
	case id.Subject == "ann" && !f.demoted.Load():
		return admin.Steer
	case id.Subject == "rea":
		return admin.Read
	}
	return admin.Nothing
}

func startConsole(t *testing.T, change func(*consoled, *pgtest.ProxyOptions)) *consoled {
	t.Helper()
	f := &consoled{issuer: pgtest.NewIssuer(t, "https://issuer.test"), set: newRevocations()}
	f.console = &admin.Console{
		Rights: f.rights, Idle: func() time.Duration { return f.idle }, Version: "test", Revocations: kept{f}, Log: slog.New(slog.DiscardHandler),
	}
	f.plain = startPlain(t, func(o *pgtest.ProxyOptions) {
		tokens := pgtest.JWTRule(t, o.Role, f.issuer)
		tokens.TLS, tokens.Databases = auth.TLSAny, []string{"console"}
		tokens.Users = []string{o.Role}
		o.Rules = []auth.Rule{tokens, {Name: "trust", TLS: auth.TLSAny, Method: claimpool.MethodTrust}}
		o.Revocations = f.set
		o.Console = &proxy.Console{
			Database: "console", Version: "1.0/test",
			Admits: func(id *claimpool.Identity) bool { return f.rights(id) >= admin.Read },
			Serve: func(ctx context.Context, g proxy.ConsoleGuest) string {
				return f.console.Serve(ctx, admin.Guest(g))
			},
		}
		if change != nil {
			change(f, o)
		}
	})
	return f
}

// steer logs in with a token of a subject.
func (f *consoled) steer(t testing.TB, subject string, claims map[string]any, params ...[2]string) *peer {
	t.Helper()
	if !hasDatabase(params) {
		params = append(params, [2]string{"database", "console"})
	}
	p := f.dial(t).start(wire.Version32, f.role, params...)
	if word, _ := p.message(); word != "R" {
		t.Fatalf("asked with %s", word)
	}
	p.send(wire.AppendPassword(nil, []byte(f.issuer.Mint(subject, claims))))
	return p
}

// TestConsole: who steers logs in like everybody, never gets a server, and ends like everybody.
func TestConsole(t *testing.T) {
	t.Parallel()
	f := startConsole(t, nil)
	p := f.steer(t, "ann", nil).ready()
	if p.params["server_version"] != "1.0/test" || p.params["client_encoding"] != "UTF8" || len(p.secret) != 32 {
		t.Errorf("%v, %d bytes of key", p.params, len(p.secret))
	}
	p.expect("SHOW VERSION", "T D(claimpool test) C(SHOW) Z(I)")
	f.cancelKey(t, p.pid, p.secret) // nothing can be cancelled, and nothing breaks
	p.expect("SHOW VERSION", "T D(claimpool test) C(SHOW) Z(I)")
	if f.PoolStats().Opened != 0 {
		t.Error("a server was opened")
	}
	p.leave()
	soon(t, "it is gone", func() bool { return f.Clients() == 0 })
	if log := f.Log.String(); !strings.Contains(log, "client said goodbye") || !strings.Contains(log, "identity=ann@https://issuer.test") {
		t.Error(log)
	}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	p = f.steer(t, "ann", nil).ready()
	if err := f.Shutdown(ctx); err != nil {
		t.Errorf("the proxy does not stop: %v", err)
	}
	if got := p.gone(); got != "E(57P01 fatal) EOF" {
		t.Errorf("the client is told %s", got)
	}
}

// TestConsoleAboveTheLimit: who steers gets in when nobody else does, as far as there are seats.
func TestConsoleAboveTheLimit(t *testing.T) {
	t.Parallel()
	f := startConsole(t, func(_ *consoled, o *pgtest.ProxyOptions) {
		o.Limits = proxy.Limits{MaxClients: 1, MaxLogins: 64, LoginTimeout: patience}
	})
	f.dial(t).start(wire.Version30, "anybody").ready()
	if got := f.dial(t).start(wire.Version30, "anybody").answer(); got != "E(53300 fatal) EOF" {
		t.Errorf("a second client: %s", got)
	}
	for range 16 {
		f.steer(t, "ann", nil).ready()
		f.steer(t, "rea", nil).ready()
	}
	if got := f.steer(t, "ann", nil).answer(); got != "E(53300 fatal) EOF" {
		t.Errorf("one too many: %s", got)
	}
}

// TestConsoleHoldsNoLoginSlot: who sits in the console does not keep others from logging in.
func TestConsoleHoldsNoLoginSlot(t *testing.T) {
	t.Parallel()
	f := startConsole(t, func(_ *consoled, o *pgtest.ProxyOptions) {
		o.Limits = proxy.Limits{MaxClients: 100, MaxLogins: 1, LoginTimeout: patience}
	})
	f.steer(t, "ann", nil).ready()
	f.steer(t, "rea", nil).ready()
	f.dial(t).start(wire.Version30, "anybody").ready().expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
}

// TestConsoleEndsIdle: limits.idle_timeout is for the console, too.
func TestConsoleEndsIdle(t *testing.T) {
	t.Parallel()
	f := startConsole(t, func(f *consoled, _ *pgtest.ProxyOptions) { f.idle = 200 * time.Millisecond })
	if got := f.steer(t, "rea", nil).gone(); got != "R Z(I) E(57P05 fatal) EOF" {
		t.Error(got)
	}
}

// TestAttackConsoleByStrangers: the attacker may log in to the proxy: without a proof, with a good token of somebody without rights, with an
// administrator's claims on top of his own login, as a replication client. Or he asks for the console in other spellings, to be taken for a
// client of a pool by one part of the proxy and for an administrator by another.
//
// Must: He must be refused (42501, 28000, 0A000) before a command is read, and nothing but the exact name is the console; other spellings are databases that do not exist.
// Dialects: none
func TestAttackConsoleByStrangers(t *testing.T) {
	t.Parallel()
	f := startConsole(t, nil)
	console := [2]string{"database", "console"}
	for name, test := range map[string]struct {
		p    *peer
		want string
	}{
		"trust":           {f.dial(t).start(wire.Version30, "ann", console), "E(42501 fatal) EOF"},
		"another subject": {f.steer(t, "eve", nil), "E(42501 fatal) EOF"},
		"close to ann":    {f.steer(t, "Ann", nil), "E(42501 fatal) EOF"},
		"replication":     {f.steer(t, "ann", nil, console, [2]string{"replication", "true"}), "E(0A000 fatal) EOF"},
		"claims on top":   {f.steer(t, "ann", nil, console, [2]string{"jwt.context", f.issuer.Mint("ann", nil)}), "E(28000 fatal) EOF"},
	} {
		test.p.send(wire.AppendQuery(nil, "SHOW VERSION")) // in the same breath
		if got := test.p.gone(); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, spelling := range []string{"Console", "CONSOLE", `"console"`, "console ", " console", "consolé", "conso"} {
		if got := f.dial(t).start(wire.Version30, f.role+"x", [2]string{"database", spelling}).gone(); got != "E(3D000 fatal) EOF" {
			t.Errorf("%q: %s", spelling, got)
		}
	}
	if f.PoolStats().Opened != 0 {
		t.Error("a server was opened")
	}
}

// TestAttackConsoleWhoHasToGo: the attacker has got hold of an administrator's session. Then its token ends, it is revoked, or a reload takes
// the rights away; he is idle, or goes on asking, or has sent half of a message.
//
// Must: He must be told so (28000, 42501) and be gone within a second or two, and not one more command must be carried out.
// Dialects: none
func TestAttackConsoleWhoHasToGo(t *testing.T) {
	t.Parallel()
	ways := map[string]struct {
		do   func(*consoled)
		want string
	}{
		"revoked":  {func(f *consoled) { (kept{f}).Revoke(context.Background(), []revocation.Entry{entryOf("ann")}, nil) }, "28000"},
		"demoted":  {func(f *consoled) { f.demoted.Store(true); f.Reload(f.options.Config(t)) }, "42501"},
		"removed":  {func(f *consoled) { o := f.options; o.Console = nil; f.Reload(o.Config(t)) }, "57P01"},
		"expiring": {func(f *consoled) {}, "28000"},
	}
	for name, way := range ways {
		for _, asking := range []string{"idle", "asking", "half"} {
			t.Run(name+" "+asking, func(t *testing.T) {
				t.Parallel()
				f := startConsole(t, nil)
				ends := time.Now().Add(time.Hour)
				if name == "expiring" {
					ends = time.Now().Add(8 * time.Second)
				}
				p := f.steer(t, "ann", map[string]any{"exp": ends.Unix()}).ready()
				if asking == "half" {
					p.send(wire.AppendQuery(nil, "SHOW VERSION")[:9])
				}
				if asking == "asking" {
					p.expect("SHOW VERSION", "T D(claimpool test) C(SHOW) Z(I)")
				}
				way.do(f)
				if got := p.gone(); got != fmt.Sprintf("E(%s fatal) EOF", way.want) {
					t.Errorf("he hears %s", got)
				}
				p.Close()
				soon(t, "it is gone", func() bool { return f.Clients() == 0 })
			})
		}
	}
}

func entryOf(subject string) revocation.Entry {
	r := revocation.Request{Issuer: "https://issuer.test", Subject: subject}
	e, err := r.Entry()
	if err != nil {
		panic(err)
	}
	return e
}

// TestAttackConsoleThatHoldsALoop: the attacker may read in the console. He asks for everything as fast as he can, in one pipeline, and does
// not read the answers.
//
// Must: The clients of the pools must not notice.
// Dialects: none
func TestAttackConsoleThatHoldsALoop(t *testing.T) {
	t.Parallel()
	f := startConsole(t, func(f *consoled, o *pgtest.ProxyOptions) { o.Loops = 1 })
	f.console.Pools = shown{f}
	client := f.dial(t).start(wire.Version30, "anybody").ready()
	client.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
	p := f.steer(t, "rea", nil).ready()
	flood := strings.Repeat(string(wire.AppendQuery(nil, "SHOW POOLS"))+string(wire.AppendQuery(nil, "SHOW HELP")), 100)
	over := make(chan struct{})
	go func() {
		defer close(over)
		for { // until it is cut off
			if _, err := p.Write([]byte(flood)); err != nil {
				return
			}
		}
	}()
	for range 200 {
		began := time.Now()
		client.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
		if took := time.Since(began); took > prompt {
			t.Errorf("a query took %v", took)
		}
	}
	p.Close()
	<-over
	soon(t, "he is gone", func() bool { return f.Clients() == 1 })
}

// shown shows the pools of a proxy.
type shown struct{ f *consoled }

// Pools is part of admin.Pools.
func (s shown) Pools(ctx context.Context) (list []admin.Pool, err error) {
	states, err := s.f.Pools(ctx)
	for _, st := range states {
		list = append(list, admin.Pool{Database: st.Database, Role: st.Role})
	}
	return list, err
}
