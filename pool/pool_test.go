package pool

import (
	"testing"
	"time"
)

var epoch = time.Unix(1e9, 0)

// defaults is a small pool of one server.
func defaults() Config {
	return Config{Isolation: Shared, Size: 1, QueueLength: 100, QueueWait: time.Minute, ReserveAfter: 3 * time.Second}
}

// ticket makes a client of an identity.
func ticket(p *Pool, name string) *Ticket {
	return &Ticket{Value: name, Entry: p.Enter(key(name), key(name))}
}

// open adds a server that has been asked for.
func open(p *Pool, now time.Time) (*Server, *Ticket) {
	s := new(Server)
	return s, p.Opened(s, 0, now)
}

// with gives a pool with one leased server and the client that has it.
func with(t *testing.T, cfg Config, name string) (*Pool, *Server) {
	t.Helper()
	p := New(cfg)
	x := ticket(p, name)
	if _, v := p.Acquire(x, epoch); v != Queued {
		t.Fatal("an empty pool has granted something")
	}
	if n, _ := p.Wanted(epoch); n != 1 {
		t.Fatalf("%d servers are wanted", n)
	}
	s, got := open(p, epoch)
	if got != x {
		t.Fatal("the new server is for the one who waits")
	}
	return p, s
}

func queue(t *testing.T, p *Pool, x *Ticket, now time.Time) {
	t.Helper()
	if _, v := p.Acquire(x, now); v != Queued {
		t.Fatalf("%v is not queued", x.Value)
	}
}

func TestAffinityPassesTheHeadABoundedNumberOfTimes(t *testing.T) {
	for _, isolation := range []Isolation{Shared, Strict} {
		t.Run(string(isolation), func(t *testing.T) {
			cfg := defaults()
			cfg.Isolation = isolation
			p, s := with(t, cfg, "alice")
			head := ticket(p, "bob")
			queue(t, p, head, epoch)
			for i := 0; ; i++ {
				queue(t, p, ticket(p, "alice"), epoch)
				got, why := p.Release(s, Keep, epoch)
				if got == head && isolation == Shared || why == Isolated && isolation == Strict {
					if i != maxPassed {
						t.Errorf("passed over %d times", i)
					}
					break
				}
				if got == nil || got.Value != "alice" || i > maxPassed {
					t.Fatalf("%v got the server, passed over %d times", got, i)
				}
			}
			if isolation == Shared {
				return
			}
			// The server that made room lets another one be opened, and that is bob's.
			if n, evict := p.Wanted(epoch); n != 1 || evict != nil {
				t.Errorf("%d are wanted, evict %v", n, evict)
			}
			if _, got := open(p, epoch); got != head {
				t.Error("the new server is for the head of the queue")
			}
		})
	}
}

func TestStrictClosesNothingInVain(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(p *Pool)
		want    Reason
	}{
		{"nothing is on its way", func(*Pool) {}, Isolated},
		{"one is on its way for the one who waits", func(p *Pool) { p.Open() }, Keep},
		{"none can be opened now", func(p *Pool) { p.Open(); p.OpenFailed(epoch) }, Keep},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := defaults()
			cfg.Isolation, cfg.Size = Strict, 2
			p, s := with(t, cfg, "alice")
			queue(t, p, ticket(p, "bob"), epoch)
			test.prepare(p)
			if x, why := p.Release(s, Keep, epoch); x != nil || why != test.want {
				t.Errorf("%v, %v", x, why)
			}
		})
	}
}

func TestStrictMakesRoomWhenNoServerCanServe(t *testing.T) {
	cfg := defaults()
	cfg.Isolation = Strict
	p, s := with(t, cfg, "alice")
	p.Release(s, Keep, epoch)
	queue(t, p, ticket(p, "bob"), epoch)
	n, evict := p.Wanted(epoch)
	if n != 1 || evict != s || s.Idle() {
		t.Errorf("%d are wanted, evict %v", n, evict)
	}
	if n, evict = p.Wanted(epoch); n != 0 || evict != nil {
		t.Errorf("then %d are wanted, evict %v", n, evict)
	}
}

func TestAcquireChoosesTheCheapestServer(t *testing.T) {
	cfg := defaults()
	cfg.Size = 4
	p := New(cfg)
	now := epoch
	idle := func(name string) *Server {
		now = now.Add(time.Second)
		p.Open()
		s, _ := open(p, now)
		if name != "" {
			p.lease(s, p.Enter(key(name), key(name)))
			p.Release(s, Keep, now)
		}
		return s
	}
	alice1, fresh, bob, alice2 := idle("alice"), idle(""), idle("bob"), idle("alice")
	for _, test := range []struct {
		name string
		want *Server
	}{
		{"alice", alice2}, // the warmest of her own
		{"carol", fresh},  // not yet anybody's
		{"dave", alice1},  // the longest idle
		{"dave", bob},
	} {
		if s, _ := p.Acquire(ticket(p, test.name), now); s != test.want {
			t.Errorf("%s got another server", test.name)
		}
	}
	if st := p.Stats(); st.Leases != 7 || st.Handovers != 2 {
		t.Errorf("%d leases, %d hand-overs", st.Leases, st.Handovers)
	}
}

func TestReserve(t *testing.T) {
	cfg := defaults()
	cfg.Reserve = 1
	p, s := with(t, cfg, "alice")
	bob, carol := ticket(p, "bob"), ticket(p, "carol")
	queue(t, p, bob, epoch)
	if n, _ := p.Wanted(epoch.Add(2 * time.Second)); n != 0 {
		t.Error("too early")
	}
	late := epoch.Add(3 * time.Second)
	if at, ok := p.NextAlarm(epoch); !ok || !at.Equal(late) {
		t.Errorf("the alarm is at %v", at)
	}
	queue(t, p, carol, late)
	if n, _ := p.Wanted(late); n != 1 {
		t.Error("bob has waited for long enough")
	}
	if _, got := open(p, late); got != bob {
		t.Error("it is for bob")
	}
	// Carol has not waited for long, but while anybody waits the reserve is not closed.
	if got, why := p.Release(s, Keep, late); got != carol || why != Keep {
		t.Errorf("%v, %v", got, why)
	}
	if got, why := p.Release(s, Keep, late); got != nil || why != Shrunk {
		t.Errorf("%v, %v", got, why)
	}
}

func TestReserveThatNobodyNeedsAnyMoreIsClosed(t *testing.T) {
	cfg := defaults()
	cfg.Reserve = 1
	p, _ := with(t, cfg, "alice")
	bob := ticket(p, "bob")
	queue(t, p, bob, epoch)
	late := epoch.Add(time.Minute)
	p.Wanted(late)
	p.Cancel(bob)
	s, _ := open(p, late)
	if got, why := p.Sweep(late); got != s || why != Shrunk {
		t.Errorf("%v, %v", got, why)
	}
}

func TestLifeOfAServer(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(c *Config)
		after  time.Duration
		leave  bool
		want   Reason
	}{
		{"young", func(*Config) {}, time.Hour, false, Keep},
		{"idle for too long", func(c *Config) { c.IdleTimeout = time.Minute }, time.Minute, false, IdleTimeout},
		{"not yet idle for too long", func(c *Config) { c.IdleTimeout = time.Minute }, time.Minute - 1, false, Keep},
		{"one of the minimum", func(c *Config) { c.IdleTimeout, c.Min = time.Minute, 1 }, time.Hour, false, Keep},
		{"one of the minimum of an unused pool", func(c *Config) { c.IdleTimeout, c.Min = time.Minute, 1 }, time.Hour, true, IdleTimeout},
		{"old", func(c *Config) { c.Lifetime, c.Min = time.Minute, 1 }, time.Minute, false, Lifetime},
		{"not yet old", func(c *Config) { c.Lifetime = time.Minute }, time.Minute - 1, false, Keep},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := defaults()
			test.change(&cfg)
			p, s := with(t, cfg, "alice")
			e := s.entry
			p.Release(s, Keep, epoch)
			if test.leave {
				p.Leave(e)
			}
			got, why := p.Sweep(epoch.Add(test.after))
			if why != test.want || (got != nil) != (why != Keep) {
				t.Errorf("%v", why)
			}
			if why != Keep && p.Stats().Closed[why] != 1 {
				t.Error("not counted")
			}
		})
	}
}

func TestLifetimeIsSpread(t *testing.T) {
	cfg := defaults()
	cfg.Lifetime = 100 * time.Second
	p := New(cfg)
	p.Open()
	s := new(Server)
	p.Opened(s, 0.5, epoch)
	if d := s.expires.Sub(epoch); d != 95*time.Second {
		t.Errorf("it lives for %v", d)
	}
}

func TestReleaseClosesWhatIsUnfit(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(p *Pool, s *Server)
		why  Reason
		want Reason
	}{
		{"fine", func(*Pool, *Server) {}, Keep, Keep},
		{"the caller says why not", func(*Pool, *Server) {}, LeftInCopy, LeftInCopy},
		{"condemned", func(p *Pool, _ *Server) { p.Condemn(Reconfigured) }, Keep, Reconfigured},
		{"old", func(_ *Pool, s *Server) { s.expires = epoch }, Keep, Lifetime},
		{"one too many", func(p *Pool, _ *Server) { p.SetConfig(Config{}) }, Keep, Shrunk},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, s := with(t, defaults(), "alice")
			test.do(p, s)
			if _, why := p.Release(s, test.why, epoch); why != test.want {
				t.Errorf("%v", why)
			}
			if st := p.Stats(); st.Leased != 0 || st.Idle+int(st.Closed[test.want]) != 1 && test.want != Keep {
				t.Errorf("%+v", st)
			}
			p.Remove(s, ServerClosed)
			p.Remove(s, ServerClosed)
			if st := p.Stats(); st.Leased != 0 || st.Idle != 0 {
				t.Errorf("removed twice: %+v", st)
			}
		})
	}
}

func TestBackoffGrowsAndEnds(t *testing.T) {
	p, now := New(defaults()), epoch
	x := ticket(p, "alice")
	queue(t, p, x, now)
	var last time.Duration
	for i := range 20 {
		n, _ := p.Wanted(now)
		if n != 1 {
			t.Fatalf("failure %d: %d are wanted", i, n)
		}
		p.OpenFailed(now)
		at, ok := p.NextAlarm(now)
		pause := at.Sub(now)
		if !ok || pause < last || pause > maxBackoff {
			t.Fatalf("failure %d: a pause of %v after %v", i, pause, last)
		}
		if n, _ := p.Wanted(at.Add(-1)); n != 0 {
			t.Error("opened in the pause")
		}
		last, now = pause, at
	}
	p.Wanted(now)
	if _, got := open(p, now); got != x || p.failed != 0 {
		t.Error("an opening ends the pause")
	}
}

func TestOpeningsThatFailTogetherCountOnce(t *testing.T) {
	cfg := defaults()
	cfg.Size = 10
	p := New(cfg)
	for range 10 {
		queue(t, p, ticket(p, "alice"), epoch)
	}
	if n, _ := p.Wanted(epoch); n != 10 {
		t.Fatalf("%d are wanted", n)
	}
	for range 10 {
		p.OpenFailed(epoch)
	}
	if p.failed != 1 || p.Stats().Opening != 0 {
		t.Errorf("%d failures, %d openings", p.failed, p.Stats().Opening)
	}
}

func TestQueueIsBoundedInLengthAndTime(t *testing.T) {
	cfg := defaults()
	cfg.QueueLength = 2
	p, _ := with(t, cfg, "alice")
	first, second := ticket(p, "bob"), ticket(p, "carol")
	queue(t, p, first, epoch)
	queue(t, p, second, epoch.Add(time.Second))
	if _, v := p.Acquire(ticket(p, "dave"), epoch); v != Refused {
		t.Error("a full queue took another one")
	}
	if p.Expire(epoch.Add(time.Minute-1)) != nil {
		t.Error("too early")
	}
	if p.Expire(epoch.Add(time.Minute)) != first || p.Expire(epoch.Add(time.Minute)) != nil {
		t.Error("only the first has waited too long")
	}
	if p.Drop() != second || p.Drop() != nil {
		t.Error("then the second is left")
	}
	p.Cancel(second)
	if st := p.Stats(); st.Refused != 1 || st.TimedOut != 1 || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
	if _, ok := p.NextAlarm(epoch); ok {
		t.Error("nobody waits")
	}
}

func TestDisplacedIdentityWidensThePool(t *testing.T) {
	cfg := defaults()
	cfg.Size = 2
	p, s := with(t, cfg, "alice")
	p.Release(s, Keep, epoch)
	if n, _ := p.Wanted(epoch); n != 0 {
		t.Errorf("%d are wanted without a need", n)
	}
	if got, _ := p.Acquire(ticket(p, "bob"), epoch); got != s {
		t.Fatal("bob takes over at once")
	}
	if n, _ := p.Wanted(epoch); n != 1 {
		t.Errorf("%d are wanted in the background", n)
	}
}

func TestMinimumIsForPoolsInUse(t *testing.T) {
	cfg := defaults()
	cfg.Size, cfg.Min = 3, 2
	p := New(cfg)
	if n, _ := p.Wanted(epoch); n != 0 {
		t.Errorf("%d are wanted for nobody", n)
	}
	p.Enter(key("alice"), key("alice"))
	if n, _ := p.Wanted(epoch); n != 2 {
		t.Errorf("%d are wanted", n)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range reasonCount {
		if s := r.String(); s == "" || s == "unknown" || seen[s] {
			t.Errorf("reason %d is called %q", r, s)
		} else {
			seen[s] = true
		}
	}
	if reasonCount.String() != "unknown" {
		t.Error("what is no reason has a name")
	}
}

// lend gives servers out and takes them back: what a transaction costs in the pool.
func lend(clients, identities, size int) func() {
	cfg := defaults()
	cfg.Size = size
	p := New(cfg)
	var tickets []*Ticket
	for i := range clients {
		tickets = append(tickets, ticket(p, string(rune('a'+i%identities))))
	}
	var leased []*Server
	for range size {
		p.Open()
		open(p, epoch)
	}
	next := 0
	return func() {
		if len(leased) == size {
			p.Release(leased[next%size], Keep, epoch)
			leased[next%size] = leased[size-1]
			leased = leased[:size-1]
		}
		if s, v := p.Acquire(tickets[next%clients], epoch); v == Granted {
			leased = append(leased, s)
		} else {
			p.Cancel(tickets[next%clients])
		}
		next++
	}
}

func TestALeaseDoesNotAllocate(t *testing.T) {
	for _, identities := range []int{1, 20} {
		f := lend(64, identities, 10)
		for range 100 {
			f()
		}
		if n := testing.AllocsPerRun(1000, f); n > 0 {
			t.Errorf("%d identities: %v allocations", identities, n)
		}
	}
}

func BenchmarkLease(b *testing.B) {
	f := lend(64, 20, 10)
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
}
