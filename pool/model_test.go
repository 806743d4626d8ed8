package pool

import (
	"slices"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"pgregory.net/rapid"
)

// world is what a pool's owner knows: the simplest possible book-keeping, in simulated time.
type world struct {
	t       *rapid.T
	pool    *Pool
	now     time.Time
	clients []*person
	queue   []*person            // in the order of their coming
	turns   []string             // the shares that may be served, in the order of their turns
	leased  map[*Server]*person  // who has it
	idle    map[*Server]bool     //
	served  map[*Server][]string // the identities that each server has served
	old     map[*Server]bool     // condemned
	opening int
	extra   int // openings beyond what the pool wanted
	paused  time.Time
}

type person struct {
	name   string // of the identity; its first letter is the share
	entry  *Entry
	ticket Ticket
	server *Server
	passed int // by how many it was passed over while at the head, though no server was on its way
}

func key(name string) (k claimpool.Key) {
	copy(k[:], name)
	return k
}

func newWorld(t *rapid.T, cfg Config) *world {
	return &world{
		t: t, pool: New(cfg), now: time.Unix(1e9, 0), leased: map[*Server]*person{}, idle: map[*Server]bool{},
		served: map[*Server][]string{}, old: map[*Server]bool{},
	}
}

func (w *world) enter(name string) *person {
	p := &person{name: name, entry: w.pool.Enter(key(name), key(name[:1]))}
	p.ticket.Value, p.ticket.Entry = p, p.entry
	w.clients = append(w.clients, p)
	return p
}

func (p *person) share() string { return p.name[:1] }

// may counts how many of those of a share that wait may be served.
func (w *world) may(share string) int {
	waiting, using := 0, 0
	for _, p := range w.queue {
		if p.share() == share {
			waiting++
		}
	}
	for _, p := range w.leased {
		if p.share() == share {
			using++
		}
	}
	if size := w.pool.cfg.ShareSize; size > 0 {
		waiting = min(waiting, max(0, size-using))
	}
	return waiting
}

func (w *world) demand() (n int) {
	seen := map[string]bool{}
	for _, p := range w.queue {
		if !seen[p.share()] {
			seen[p.share()] = true
			n += w.may(p.share())
		}
	}
	return n
}

// turn brings the order of turns up to date: whoever begins to have a demand comes last.
func (w *world) turn() {
	w.turns = slices.DeleteFunc(w.turns, func(s string) bool { return w.may(s) == 0 })
	for _, p := range w.queue {
		if s := p.share(); w.may(s) > 0 && !slices.Contains(w.turns, s) {
			w.turns = append(w.turns, s)
		}
	}
}

// head is whose turn it is.
func (w *world) head() *person {
	w.turn()
	if len(w.turns) == 0 {
		return nil
	}
	return w.queue[slices.IndexFunc(w.queue, func(p *person) bool { return p.share() == w.turns[0] })]
}

// grant notes that a server has been given to somebody. matched says that the server was idle.
func (w *world) grant(s *Server, p *person, matched bool) {
	if owner := w.leased[s]; owner != nil {
		w.t.Fatalf("%s has got the server of %s", p.name, owner.name)
	}
	if w.old[s] {
		w.t.Fatal("a condemned server was given out")
	}
	if p.server != nil {
		w.t.Fatal("one client, two servers")
	}
	i := slices.Index(w.queue, p)
	waited := i >= 0
	if waited {
		if w.may(p.share()) == 0 {
			w.t.Fatalf("%s has more servers than its share", p.name)
		}
		if head := w.head(); head != p && !matched {
			if seen := w.served[s]; len(seen) == 0 || seen[len(seen)-1] != p.name {
				w.t.Fatalf("%s has overtaken %s and gains nothing by it", p.name, head.name)
			}
			if w.pool.cfg.Isolation == Shared || w.opening == 0 && !w.now.Before(w.paused) {
				head.passed++
			}
			if head.passed > maxPassed {
				w.t.Fatalf("%s was passed over %d times", head.name, head.passed)
			}
		}
		w.queue = slices.Delete(w.queue, i, i+1)
	} else if len(w.queue) > 0 && !w.idle[s] {
		w.t.Fatal("somebody new has overtaken the queue")
	}
	delete(w.idle, s)
	w.leased[s], p.server = p, s
	if i := slices.Index(w.turns, p.share()); i >= 0 && waited {
		w.turns = slices.Delete(w.turns, i, i+1) // and comes last, if it wants more
	}
	w.turn()
	w.served[s] = append(w.served[s], p.name)
	if w.pool.cfg.Isolation == Strict && slices.ContainsFunc(w.served[s], func(n string) bool { return n != p.name }) {
		w.t.Fatalf("one server has served %v", w.served[s])
	}
}

func (w *world) acquire(p *person) {
	if p.server != nil || slices.Contains(w.queue, p) {
		return
	}
	p.passed = 0
	switch s, verdict := w.pool.Acquire(&p.ticket, w.now); verdict {
	case Granted:
		w.grant(s, p, false)
		if size := w.pool.cfg.ShareSize; size > 0 && w.uses(p.share()) > size && w.extra == 0 {
			w.t.Fatalf("%s has more servers than its share", p.name)
		}
	case Queued:
		if len(w.queue) >= w.pool.cfg.QueueLength {
			w.t.Fatal("the queue is too long")
		}
		w.queue = append(w.queue, p)
		w.turn()
		w.grow()
	case Refused:
		mine := 0
		for _, o := range w.queue {
			if o.share() == p.share() {
				mine++
			}
		}
		if free := w.pool.cfg.QueueLength - len(w.queue); free > 0 && mine < crowd*free {
			w.t.Fatal("refused, though the queue has room")
		}
	}
}

func (w *world) uses(share string) (n int) {
	for _, p := range w.leased {
		if p.share() == share {
			n++
		}
	}
	return n
}

func (w *world) release(s *Server, why Reason) {
	w.leased[s].server = nil
	delete(w.leased, s)
	w.turn()
	t, why := w.pool.Release(s, why, w.now)
	switch {
	case why != Keep:
		w.gone(s)
		w.grow()
	case t != nil:
		w.grant(s, t.Value.(*person), false)
	default:
		w.idle[s] = true
	}
	w.match()
}

func (w *world) gone(s *Server) {
	if w.leased[s] != nil {
		w.t.Fatal("a leased server was closed")
	}
	delete(w.idle, s)
	delete(w.served, s)
	delete(w.old, s)
}

func (w *world) match() {
	for s, t := w.pool.Match(); t != nil; s, t = w.pool.Match() {
		if !w.idle[s] {
			w.t.Fatal("a match with a server that is not idle")
		}
		w.grant(s, t.Value.(*person), true)
	}
}

func (w *world) grow() {
	w.match()
	n, evict := w.pool.Wanted(w.now)
	if evict != nil {
		if !w.idle[evict] || w.pool.cfg.Isolation != Strict || len(w.queue) == 0 {
			w.t.Fatal("closed without need")
		}
		w.gone(evict)
	}
	if n < 0 {
		w.t.Fatal("a negative number of openings")
	}
	w.opening += n
	c := w.pool.cfg
	total := len(w.leased) + len(w.idle) + w.opening
	if n > 0 && total > c.Size+c.Reserve+w.extra {
		w.t.Fatalf("%d servers", total)
	}
	if n > 0 && total > c.Size+w.extra && (len(w.queue) == 0 || w.now.Sub(w.queue[0].ticket.since) < c.ReserveAfter) {
		w.t.Fatal("the reserve was used too early")
	}
	if w.demand() > w.opening && total < c.Size && !w.now.Before(w.paused) {
		w.t.Fatalf("%d wait, %d of %d servers", len(w.queue), total, c.Size)
	}
}

func (w *world) opened() {
	if w.opening == 0 {
		return
	}
	w.opening--
	w.extra = max(0, w.extra-1)
	w.paused = time.Time{}
	s := new(Server)
	w.served[s] = nil
	if t := w.pool.Opened(s, 0.5, w.now); t != nil {
		if t.Value.(*person) != w.head() {
			w.t.Fatal("a new server is for the head of the queue")
		}
		w.grant(s, t.Value.(*person), false)
		return
	}
	if !s.Fresh() || !s.Idle() {
		w.t.Fatal("a new server is idle and fresh")
	}
	w.idle[s] = true
}

func (w *world) failed() {
	if w.opening == 0 {
		return
	}
	w.opening--
	w.pool.OpenFailed(w.now)
	w.paused = w.pool.backoff
	if d := w.paused.Sub(w.now); d <= 0 || d > maxBackoff {
		w.t.Fatalf("a pause of %v", d)
	}
}

// tick lets time go by and does what the owner's alarm does.
func (w *world) tick(d time.Duration) {
	w.now = w.now.Add(d)
	at, ok := w.pool.NextAlarm(w.now)
	if ok != (len(w.queue) > 0) {
		w.t.Fatal("an alarm is for those who wait")
	}
	if ok && w.pool.cfg.QueueWait < w.now.Sub(w.queue[0].ticket.since) && at.After(w.now) {
		w.t.Fatal("the alarm is late")
	}
	for t := w.pool.Expire(w.now); t != nil; t = w.pool.Expire(w.now) {
		p := t.Value.(*person)
		if w.queue[0] != p || w.now.Sub(p.ticket.since) < w.pool.cfg.QueueWait {
			w.t.Fatal("somebody was sent away too early")
		}
		w.queue = w.queue[1:]
		w.turn()
	}
	w.grow()
}

func (w *world) sweep() {
	for s, why := w.pool.Sweep(w.now); s != nil; s, why = w.pool.Sweep(w.now) {
		if !w.idle[s] || why == Keep {
			w.t.Fatal("only idle servers are swept, for a reason")
		}
		w.gone(s)
	}
	w.grow()
}

func (w *world) leave(p *person) {
	if i := slices.Index(w.queue, p); i >= 0 {
		w.pool.Cancel(&p.ticket)
		w.queue = slices.Delete(w.queue, i, i+1)
		w.turn()
	}
	if p.server != nil {
		w.release(p.server, LeftInQuery)
	}
	w.pool.Leave(p.entry)
	w.clients = slices.DeleteFunc(w.clients, func(o *person) bool { return o == p })
}

// check compares the pool's books with the world's.
func (w *world) check() {
	st := w.pool.Stats()
	if st.Idle != len(w.idle) || st.Leased != len(w.leased) || st.Opening != w.opening || st.Waiting != len(w.queue) {
		w.t.Fatalf("%+v, but %d idle, %d leased, %d opening, %d waiting", st, len(w.idle), len(w.leased), w.opening, len(w.queue))
	}
	names := map[string]bool{}
	for _, p := range w.clients {
		names[p.name] = true
	}
	for _, seen := range w.served {
		if len(seen) > 0 {
			names[seen[len(seen)-1]] = true
		}
	}
	if st.Identities != len(names) {
		w.t.Fatalf("%d identities are known, want %v", st.Identities, names)
	}
	for _, p := range w.queue {
		if w.may(p.share()) == 0 {
			continue
		}
		for s := range w.idle {
			seen := w.served[s]
			if w.pool.cfg.Isolation == Shared || len(seen) == 0 || seen[len(seen)-1] == p.name {
				w.t.Fatalf("%s waits while a server idles that could serve it", p.name)
			}
		}
	}
}

func randomConfig(t *rapid.T) Config {
	return Config{
		Isolation:    rapid.SampledFrom([]Isolation{Shared, Strict}).Draw(t, "isolation"),
		Size:         rapid.IntRange(1, 4).Draw(t, "size"),
		Min:          rapid.IntRange(0, 2).Draw(t, "min"),
		ShareSize:    rapid.IntRange(0, 3).Draw(t, "share"),
		Reserve:      rapid.IntRange(0, 2).Draw(t, "reserve"),
		ReserveAfter: 3 * time.Second,
		QueueLength:  rapid.IntRange(0, 12).Draw(t, "queue"),
		QueueWait:    10 * time.Second,
		IdleTimeout:  rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "idle timeout"),
		Lifetime:     rapid.SampledFrom([]time.Duration{0, 5 * time.Minute}).Draw(t, "lifetime"),
	}
}

// Whatever happens: no server has two clients, the limits hold, nobody waits while a server idles that may serve him, the
// queue is fair within its bounds, strict isolation never shares, and in the end everybody is served.
func TestPoolAgainstItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, randomConfig(t))
		name := rapid.SampledFrom([]string{"alice", "andrew", "bob", "carol", "dave"})
		someone := func(do func(*person)) func(*rapid.T) {
			return func(t *rapid.T) {
				if len(w.clients) > 0 {
					do(w.clients[rapid.IntRange(0, len(w.clients)-1).Draw(t, "client")])
				}
			}
		}
		acquire := someone(func(p *person) { w.acquire(p) })
		release := func(t *rapid.T) {
			var holders []*person
			for _, p := range w.clients {
				if p.server != nil {
					holders = append(holders, p)
				}
			}
			if len(holders) == 0 {
				return
			}
			p := holders[rapid.IntRange(0, len(holders)-1).Draw(t, "holder")]
			w.release(p.server, rapid.SampledFrom([]Reason{Keep, Keep, Keep, Keep, OutOfStep}).Draw(t, "reason"))
		}
		t.Repeat(map[string]func(*rapid.T){
			"enter":   func(t *rapid.T) { w.enter(name.Draw(t, "identity")) },
			"come":    func(t *rapid.T) { w.acquire(w.enter(name.Draw(t, "identity"))) },
			"acquire": acquire, "acquire again": acquire,
			"release": release, "release again": release, "release once more": release,
			"leave":  someone(func(p *person) { w.leave(p) }),
			"opened": func(*rapid.T) { w.opened() },
			"all opened": func(*rapid.T) {
				for w.opening > 0 {
					w.opened()
				}
			},
			"failed": func(*rapid.T) { w.failed() },
			"unopened": func(t *rapid.T) {
				if w.opening == 0 {
					return
				}
				w.opening--
				w.pool.Unopened()
				w.grow()
			},
			"opened for a login": func(t *rapid.T) {
				if w.extra > 0 || w.opening > 0 {
					return
				}
				w.pool.Open()
				w.opening++
				w.extra++
			},
			"time": func(t *rapid.T) {
				w.tick(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute}).Draw(t, "d"))
			},
			"sweep": func(*rapid.T) { w.sweep() },
			"condemn": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "really") > 0 {
					return
				}
				for _, s := range w.pool.Condemn(Reconfigured) {
					w.gone(s)
				}
				for s := range w.leased {
					w.old[s] = true
				}
				w.grow()
			},
			"resize": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "really") > 0 {
					return
				}
				cfg := w.pool.Config()
				cfg.Size = rapid.IntRange(1, 5).Draw(t, "size")
				cfg.ShareSize = rapid.IntRange(0, 3).Draw(t, "share")
				w.pool.SetConfig(cfg)
				w.turn()
				w.extra = 10 // what is too many closes in its time
				w.sweep()
			},
			"": func(*rapid.T) { w.check() },
		})
		w.finish()
	})
}

// finish serves everybody who waits: a release, an opening or the alarm must bring each of them to a server.
func (w *world) finish() {
	for round := 0; len(w.queue) > 0; round++ {
		if round > 1000 {
			w.t.Fatalf("%d wait for ever", len(w.queue))
		}
		w.now = w.now.Add(100 * time.Millisecond)
		w.grow()
		for w.opening > 0 {
			w.opened()
		}
		for s := range w.leased {
			w.release(s, Keep)
			break
		}
		w.check()
	}
	for len(w.clients) > 0 {
		w.leave(w.clients[0])
	}
	w.tick(24 * time.Hour)
	w.sweep()
	for w.opening > 0 {
		w.opened()
	}
	w.tick(24 * time.Hour)
	w.sweep()
	if st := w.pool.Stats(); (w.pool.cfg.IdleTimeout > 0 || w.pool.cfg.Lifetime > 0) && st.Idle+st.Leased+st.Opening+st.Identities > 0 {
		w.t.Fatalf("an unused pool keeps %+v", st)
	}
	w.check()
}
