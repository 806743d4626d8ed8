package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

// member is a server that says what it is told to say of itself, and counts logins.
type member struct {
	address string
	logins  atomic.Int32

	mu    sync.Mutex
	says  string        // primary, read-only, standby, silent (about it), starting, full; down: closes at once
	delay chan struct{} // when set, a login waits for it
}

func startMember(t *testing.T, says string) *member {
	m := &member{says: says}
	m.address = fake(t, m.serve)
	return m
}

func (m *member) turn(says string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.says = says
}

func (m *member) serve(conn net.Conn) {
	if readStartup(conn) == nil {
		return
	}
	m.logins.Add(1)
	m.mu.Lock()
	says, delay := m.says, m.delay
	m.mu.Unlock()
	if delay != nil {
		<-delay
	}
	refuse := func(code claimpool.Code) {
		conn.Write(wire.AppendError(nil, "FATAL", &claimpool.Error{Code: code, Message: "so it is"}))
	}
	switch says {
	case "down":
		return
	case "starting":
		refuse("57P03")
		return
	case "full":
		refuse("53300")
		return
	}
	b := wire.AppendAuthOK(nil)
	if says != "silent" {
		onOff := map[bool]string{true: "on", false: "off"}
		b = wire.AppendParameterStatus(b, "in_hot_standby", onOff[says == "standby"])
		b = wire.AppendParameterStatus(b, "default_transaction_read_only", onOff[says == "read-only"])
	}
	conn.Write(wire.AppendReadyForQuery(wire.AppendBackendKeyData(b, 1, []byte("abcd")), 'I'))
	discard(conn)
}

// group is a way to some members, by the words of startMember.
func group(t *testing.T, p server.Policy, says ...string) (*server.Config, []*member) {
	t.Helper()
	var members []*member
	cfg := fakeConfig("")
	cfg.Hosts = nil
	for _, s := range says {
		m := startMember(t, s)
		members = append(members, m)
		cfg.Hosts = append(cfg.Hosts, m.address)
	}
	if p.LoginRetry == 0 {
		p.LoginRetry = time.Hour
	}
	cfg.Group = server.NewGroup(p)
	return cfg, members
}

// where opens a connection and says to which member, from 1 on, or the SQLSTATE of the error.
func where(t *testing.T, cfg *server.Config) string {
	t.Helper()
	c, err := server.Open(t.Context(), cfg)
	if err != nil {
		return string(claimpool.AsError(err).Code)
	}
	defer c.Close()
	if !cfg.Group.Keeps(c.Address) {
		t.Errorf("a new connection to %s is not kept: %s", c.Host, cfg.Group)
	}
	for i, host := range cfg.Hosts {
		if c.Host == host {
			return fmt.Sprint(i + 1)
		}
	}
	return "nowhere"
}

func TestTargetSessionAttrs(t *testing.T) {
	for _, test := range []struct {
		attrs server.Attrs
		hosts string
		want  string
	}{
		{server.AttrsAny, "standby primary", "1"},
		{"", "standby primary", "1"},
		{server.AttrsAny, "down standby", "2"},
		{server.AttrsAny, "silent", "1"},
		{server.AttrsPrimary, "standby primary", "2"},
		{server.AttrsPrimary, "standby read-only", "2"},
		{server.AttrsPrimary, "standby standby", "57P03"},
		{server.AttrsPrimary, "silent", "57P03"},
		{server.AttrsPrimary, "down standby", "57P03"},
		{server.AttrsPrimary, "down", "08006"},
		{server.AttrsPrimary, "starting standby primary", "3"},
		{server.AttrsPrimary, "full primary", "2"},
		{server.AttrsPrimary, "full full", "53300"},
		{server.AttrsReadWrite, "read-only standby primary", "3"},
		{server.AttrsReadWrite, "read-only", "57P03"},
		{server.AttrsReadOnly, "primary read-only", "2"},
		{server.AttrsReadOnly, "primary standby", "2"},
		{server.AttrsReadOnly, "primary", "57P03"},
		{server.AttrsStandby, "primary read-only standby", "3"},
		{server.AttrsStandby, "primary", "57P03"},
		{server.AttrsPreferStandby, "primary standby", "2"},
		{server.AttrsPreferStandby, "primary down", "1"},
		{server.AttrsPreferStandby, "primary full", "1"},
		{server.AttrsPreferStandby, "silent silent", "1"},
	} {
		t.Run(string(test.attrs)+" of "+test.hosts, func(t *testing.T) {
			t.Parallel()
			cfg, _ := group(t, server.Policy{Attrs: test.attrs}, strings.Fields(test.hosts)...)
			for range 2 { // with nothing known, and with what the first try has told
				if got := where(t, cfg); got != test.want {
					t.Errorf("got %s, want %s; %s", got, test.want, cfg.Group)
				}
			}
		})
	}
	t.Run("an error that says what to do", func(t *testing.T) {
		cfg, _ := group(t, server.Policy{Attrs: server.AttrsPrimary}, "standby")
		_, err := server.Open(t.Context(), cfg)
		if e := claimpool.AsError(err); e.Hint == "" || !strings.Contains(e.Error(), "the server is a standby") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nonsense", func(t *testing.T) {
		for _, p := range []server.Policy{{Attrs: "master"}, {Balance: "leastconn"}} {
			if cfg, _ := group(t, p, "primary"); cfg.Check() == nil {
				t.Errorf("%+v was accepted", p)
			}
		}
	})
}

func TestLoadBalanceHosts(t *testing.T) {
	for balance, want := range map[server.Balance]string{server.BalanceDisable: "60 0 0", server.BalanceRoundRobin: "20 20 20", server.BalanceRandom: ""} {
		t.Run(string(balance), func(t *testing.T) {
			t.Parallel()
			cfg, _ := group(t, server.Policy{Balance: balance}, "primary", "primary", "primary")
			n := map[string]int{}
			for range 60 {
				n[where(t, cfg)]++
			}
			got := fmt.Sprint(n["1"], n["2"], n["3"])
			if want == "" && (n["1"] < 5 || n["2"] < 5 || n["3"] < 5) || want != "" && got != want {
				t.Errorf("connections to the three hosts: %s, want %s", got, want)
			}
		})
	}
}

// TestDeadHostIsLeftAlone: after the first failure nobody pays for a host that is down, until its time has come.
func TestDeadHostIsLeftAlone(t *testing.T) {
	cfg, members := group(t, server.Policy{LoginRetry: 3 * time.Second}, "starting", "primary")
	for range 5 {
		if got := where(t, cfg); got != "2" {
			t.Fatalf("got %s", got)
		}
	}
	if n := members[0].logins.Load(); n != 1 {
		t.Errorf("the host that is down was tried %d times", n)
	}
	members[0].turn("primary")
	for end := time.Now().Add(time.Minute); where(t, cfg) != "1"; time.Sleep(10 * time.Millisecond) {
		members[1].turn("starting") // else it would do, and the order of those that were down is asked last
		if time.Now().After(end) {
			t.Fatal("the host is up again and was not tried")
		}
	}
}

// TestOneTryAtATime: when all hosts are down, a hundred logins make one connection to each, and share what it brings.
func TestOneTryAtATime(t *testing.T) {
	cfg, members := group(t, server.Policy{Attrs: server.AttrsPrimary}, "standby")
	if got := where(t, cfg); got != "57P03" {
		t.Fatalf("got %s", got)
	}
	members[0].mu.Lock()
	members[0].delay = make(chan struct{})
	members[0].mu.Unlock()
	before := members[0].logins.Load()
	var wg sync.WaitGroup
	var refused atomic.Int32
	for range 100 {
		wg.Go(func() {
			if _, err := server.Open(t.Context(), cfg); claimpool.AsError(err).Code == claimpool.CodeCannotConnectNow {
				refused.Add(1)
			}
		})
	}
	for end := time.Now().Add(time.Minute); members[0].logins.Load() == before && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	time.AfterFunc(time.Second, func() { close(members[0].delay) })
	wg.Wait()
	if n := members[0].logins.Load() - before; refused.Load() != 100 || n > 10 {
		t.Errorf("%d of 100 were refused after %d logins", refused.Load(), n)
	}
}

// TestFailOver: what the checks find decides which connections are kept and where new ones go.
func TestFailOver(t *testing.T) {
	cfg, members := group(t, server.Policy{Attrs: server.AttrsPrimary, CheckInterval: time.Hour}, "primary", "standby")
	g := cfg.Group
	old, err := server.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	version := g.Version()
	check(t, cfg)
	members[0].turn("standby")
	members[1].turn("primary")
	if !g.Keeps(old.Address) {
		t.Fatal("nothing is known yet, and the connection is given up")
	}
	check(t, cfg)
	if g.Keeps(old.Address) || g.Version() == version {
		t.Errorf("a connection to the former primary is kept: %s", g)
	}
	before := members[0].logins.Load()
	if got := where(t, cfg); got != "2" || members[0].logins.Load() != before {
		t.Errorf("the next connection went to %s; %s", got, g)
	}
	if want := members[0].address + " standby"; !strings.Contains(g.String(), want) {
		t.Errorf("%q does not say %q", g, want)
	}
	g.Promoted(old.Address, false)
	if !g.Keeps(old.Address) {
		t.Error("a server that says that it is a primary is not believed")
	}
	if !g.Due(time.Now().Add(2 * time.Hour)) {
		t.Error("a check is not due after its interval")
	}
}

// check runs one round, whenever it is due.
func check(t *testing.T, cfg *server.Config) {
	t.Helper()
	if err := cfg.Group.Check(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// TestMissedHost: connections to a host that cannot be reached twice in a row are given up, where there is another one.
func TestMissedHost(t *testing.T) {
	cfg, members := group(t, server.Policy{CheckInterval: time.Hour}, "primary", "primary")
	if got := where(t, cfg); got != "1" {
		t.Fatal(got)
	}
	address := members[0].address
	for i, step := range []struct {
		first, second string
		keeps         bool
	}{
		{"primary", "primary", true}, {"down", "primary", true}, {"down", "primary", false}, {"full", "primary", true},
		{"down", "down", true}, {"down", "down", true}, {"primary", "down", true},
	} {
		members[0].turn(step.first)
		members[1].turn(step.second)
		check(t, cfg)
		if cfg.Group.Keeps(address) != step.keeps {
			t.Errorf("step %d: kept %v; %s", i, !step.keeps, cfg.Group)
		}
	}
}

// TestDue: looks are spread, never two at a time, and asked for at once only after the shortest gap.
func TestDue(t *testing.T) {
	g := server.NewGroup(server.Policy{CheckInterval: 10 * time.Second, DNSTTL: time.Hour})
	cfg := fakeConfig("127.0.0.1:1")
	now := time.Now()
	for i, step := range []struct {
		after time.Duration
		doubt bool
		want  bool
	}{
		{0, false, true}, {time.Second, true, true}, {1500 * time.Millisecond, true, false}, {2 * time.Second, false, true},
		{10 * time.Second, false, false}, {13100 * time.Millisecond, false, true},
	} {
		if step.doubt {
			g.Doubt()
		}
		got := g.Due(now.Add(step.after))
		if got != step.want {
			t.Errorf("step %d: due %v", i, got)
		}
		if got && g.Due(now.Add(step.after+time.Hour)) {
			t.Errorf("step %d: due a second time before the first was over", i)
		}
		if got {
			g.Check(t.Context(), cfg)
		}
	}
}

// TestNamesWithSeveralAddresses: all addresses of a name are tried, a change drains the old ones, and a name server that is down
// changes nothing.
func TestNamesWithSeveralAddresses(t *testing.T) {
	primary := startMember(t, "primary")
	_, port, _ := net.SplitHostPort(primary.address)
	var mu sync.Mutex
	var answer []string
	var fails error
	say := func(err error, addresses ...string) {
		mu.Lock()
		defer mu.Unlock()
		answer, fails = addresses, err
	}
	asked := 0
	cfg := fakeConfig(net.JoinHostPort("db.test", port))
	cfg.Group = server.NewGroup(server.Policy{LoginRetry: time.Hour, Lookup: func(_ context.Context, host string) (list []netip.Addr, err error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		for _, a := range answer {
			list = append(list, netip.MustParseAddr(a))
		}
		if host != "db.test" {
			err = errors.New("asked for " + host)
		}
		return list, errors.Join(fails, err)
	}})
	say(errors.New("no such host"))
	if got := where(t, cfg); got != "57P03" {
		t.Errorf("a name without an address gave %s", got)
	}
	say(nil, "127.0.0.2", "::ffff:127.0.0.1") // nobody listens on the first
	if got := where(t, cfg); got != "1" {
		t.Fatalf("the second address was not tried: %s", got)
	}
	at := net.JoinHostPort("127.0.0.1", port)
	if !cfg.Group.Keeps(at) || cfg.Group.Keeps(net.JoinHostPort("127.0.0.3", port)) {
		t.Error("the wrong addresses are kept")
	}
	say(errors.New("the name server is down"))
	if got := where(t, cfg); got != "1" || !cfg.Group.Keeps(at) {
		t.Errorf("without a name server: %s", got)
	}
	say(nil, "127.0.0.2")
	version := cfg.Group.Version()
	check(t, cfg)
	if cfg.Group.Keeps(at) || cfg.Group.Version() == version {
		t.Error("a connection to an address that is gone is kept")
	}
	say(nil, "127.0.0.1")
	if got := where(t, cfg); got != "1" || !cfg.Group.Keeps(at) {
		t.Errorf("back again: %s", got)
	}
	if asked < 5 {
		t.Errorf("asked %d times", asked)
	}
}

// TestNamesAreBelievedForAWhile: no name server is asked more often than once in the time to live.
func TestNamesAreBelievedForAWhile(t *testing.T) {
	primary := startMember(t, "primary")
	_, port, _ := net.SplitHostPort(primary.address)
	cfg := fakeConfig(net.JoinHostPort("db.test", port))
	asked := 0
	cfg.Group = server.NewGroup(server.Policy{DNSTTL: time.Hour, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		asked++
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}})
	for range 5 {
		where(t, cfg)
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}
