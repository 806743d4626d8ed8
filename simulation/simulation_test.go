package simulation

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/wire"
)

// step is one thing that happens. It carries all of its chances, so that a history from which others are taken out still
// means something.
type step struct{ kind, a, b, c int }

// steps makes a history.
func steps(r *rand.Rand, n int) []step {
	list := make([]step, n)
	for i := range list {
		list[i] = step{r.IntN(100), r.IntN(1 << 16), r.IntN(1 << 16), r.IntN(1 << 16)}
	}
	return list
}

func choose(r *rand.Rand) plan {
	return plan{
		dialect: []string{"sql", "native", "none"}[r.IntN(3)],
		ungated: r.IntN(4) == 0,
		wild:    r.IntN(3) == 0,
		pool: pool.Config{
			Mode:      []pool.Mode{pool.Transaction, pool.Transaction, pool.Transaction, pool.Session, pool.Statement}[r.IntN(5)],
			Isolation: []pool.Isolation{pool.Shared, pool.Shared, pool.Strict}[r.IntN(3)],
			Size:      1 + r.IntN(3), ShareSize: r.IntN(3), Min: r.IntN(2), Reserve: r.IntN(2), ReserveAfter: 3 * time.Second,
			QueueLength: 10, QueueWait: 20 * time.Second,
			IdleTimeout: time.Minute, Lifetime: 5 * time.Minute, CheckAfter: 10 * time.Second,
		},
	}
}

// maxPeople is how many clients there are at the same time.
const maxPeople = 6

// do makes one thing happen.
func (w *world) do(s step) {
	here := w.here()
	switch {
	case len(here) == 0 || s.kind < 4 && len(here) < maxPeople:
		w.come(s.a, s.b, []time.Duration{0, 0, 0, time.Second, 10 * time.Second}[s.c%5])
	case s.kind < 36:
		p := here[s.a%len(here)]
		cut := 0
		if s.c%8 == 0 {
			cut = s.c / 8 % 40
		}
		what := p.ask(s.b, cut)
		if p.half != nil {
			what += ", but only the beginning of it"
		}
		w.note("%s %s", p, what)
	case s.kind < 40:
		p := here[s.a%len(here)]
		w.note("%s %s", p, p.leave(s.b%2 == 0))
	case s.kind < 42:
		p := here[s.a%len(here)]
		w.note("%s sends a cancel request", p)
		p.client.cancelRequest()
	case s.kind < 44:
		if len(w.cancels)+len(w.strays) > 0 {
			w.arrive()
		}
	case s.kind < 54:
		if w.opening > 0 && s.a%4 == 0 {
			w.openFailed()
		} else if w.opening > 0 {
			w.opened()
		}
	case s.kind < 58:
		w.note("time goes by")
		w.pass([]time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second, 4 * time.Second, 11 * time.Second}[s.a%5])
	case s.kind < 59:
		for m, _ := w.pool.Sweep(w.now); m != nil; m, _ = w.pool.Sweep(w.now) {
			m.Value.(*backend).dismiss()
		}
		w.grow()
	case s.kind < 60 && s.a%8 == 0:
		w.note("a reload")
		for _, m := range w.pool.Condemn(pool.Reconfigured) {
			m.Value.(*backend).dismiss()
		}
		w.grow()
	case s.kind >= 95:
		w.settle(4)
	case len(w.backends) > 0:
		w.server(w.backends[s.a%len(w.backends)], s)
	}
	w.pump()
}

// server lets something happen at one server.
func (w *world) server(b *backend, s step) {
	switch {
	case s.kind < 62:
		w.note("a neighbour cancels what server %d does", b.server.pid)
		b.server.interrupt(0)
	case s.kind < 63 && s.b%4 == 0:
		w.note("server %d is killed", b.server.pid)
		if s.b%8 == 0 {
			b.server.fatal("terminating connection due to administrator command")
		}
		b.server.die()
		w.reach(b, 0)
	case s.kind < 65 && b.server.listen != "" && b.server.status == wire.StatusIdle && len(b.server.out) == 0:
		w.note("server %d notifies", b.server.pid)
		b.server.say(wire.MsgNotificationResponse, "\x00\x00\x00\x01"+b.server.listen+"\x00\x00")
	case s.kind < 80:
		if b.server.step() {
			w.note("server %d works", b.server.pid)
		}
	case s.c%4 == 0:
		w.note("%d bytes of server %d arrive", 1+s.b%30, b.server.pid)
		w.reach(b, 1+s.b%30)
	default:
		w.reach(b, 1<<20)
	}
}

// here are those who are connected.
func (w *world) here() (list []*person) {
	for _, p := range w.people {
		if !p.over {
			list = append(list, p)
		}
	}
	return list
}

// settle lets everything go on that is under way, for some rounds.
func (w *world) settle(rounds int) {
	for range rounds {
		for _, b := range append([]*backend(nil), w.backends...) {
			for b.server.step() {
			}
			w.reach(b, 1<<20)
		}
		w.pump()
	}
}

// finish is the proof that nobody waits for ever: everybody ends what it has begun, and everything succeeds from now on.
func (w *world) finish() {
	w.note("the end begins")
	for _, p := range w.here() {
		if p.wild {
			p.leave(false)
		}
	}
	for range 120 {
		w.pump()
		for w.opening > 0 {
			w.opened()
		}
		for len(w.cancels)+len(w.strays) > 0 {
			w.arrive()
		}
		for _, p := range w.here() {
			switch {
			case p.half != nil:
				p.ask(0, 0)
			case p.copying:
				p.copy(3)
			case p.batch != nil:
				p.more(0, 0)
			case len(p.asked) == 0 && p.status != wire.StatusIdle:
				text := p.tag() + "|r"
				p.send(wire.AppendQuery(nil, text), text, 0)
			case len(p.asked) == 0 && w.sessions():
				p.leave(true) // others may wait for its server
			}
		}
		w.pump()
		w.settle(3)
		w.pass(500 * time.Millisecond)
	}
	for _, p := range w.here() {
		if len(p.asked) > 0 {
			w.fail("%s waits for ever for the answer to %v", p, p.asked)
		}
		p.leave(true)
	}
	w.pump()
	w.settle(5)
	w.pass(10 * time.Second)
	w.settle(5)
	if st := w.pool.Stats(); st.Leased > 0 || st.Waiting > 0 {
		w.fail("everybody has left, but the pool counts %+v", st)
	}
}

// play plays a history, and says what went wrong.
func play(p plan, broken mutation, list []step) (history []string, wrong string) {
	w := newWorld(p, broken)
	defer func() {
		history = w.history
		switch r := recover().(type) {
		case nil:
		case violation:
			wrong = r.text
		default:
			panic(r)
		}
	}()
	for _, s := range list {
		w.do(s)
	}
	w.finish()
	return w.history, ""
}

// shorten takes steps out of a history for as long as it still goes wrong.
func shorten(p plan, broken mutation, list []step) []step {
	for size := len(list) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(list); {
			shorter := append(append([]step(nil), list[:at]...), list[at+size:]...)
			if _, wrong := play(p, broken, shorter); wrong != "" {
				list = shorter
			} else {
				at += size
			}
		}
	}
	return list
}

// length is how many steps a history has.
const length = 300

// written gives what a seed says.
func written(seed uint64) (plan, []step) {
	r := rand.New(rand.NewPCG(seed, 0))
	return choose(r), steps(r, length)
}

// tell shortens the history of a seed that goes wrong, and writes it down.
func tell(seed uint64, broken mutation) string {
	p, list := written(seed)
	history, wrong := play(p, broken, shorten(p, broken, list))
	return fmt.Sprintf("SIMULATION_SEED=%d, %s (ungated %v), %s, %s, %d servers, wild %v\n%s\n%s", seed, p.dialect, p.ungated, p.pool.Mode, p.pool.Isolation,
		p.pool.Size, p.wild, strings.Join(history, "\n"), wrong)
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestAttackEveryInterleaving: the attackers have a scheduler of their own: in thousands of histories, simulated clients send
// anything, leave in the middle of it, cancel and expire, neighbours cancel and notify, servers die, and every message takes
// its time, in both dialects and all modes.
//
// Must: No request runs under another's context or finds what another has left, no answer goes astray, servers in doubt are
// closed, nobody waits for ever, and the pool counts right. SIMULATION_SEED replays one history, SIMULATION_RUNS says how many
// are tried.
// Dialects: none
func TestAttackEveryInterleaving(t *testing.T) {
	first, runs := uint64(1), number(t, "SIMULATION_RUNS", 200)
	if seed := number(t, "SIMULATION_SEED", 0); seed > 0 {
		first, runs = seed, 1
	}
	for seed := first; seed < first+runs; seed++ {
		p, list := written(seed)
		if _, wrong := play(p, 0, list); wrong != "" {
			t.Fatal(tell(seed, 0))
		}
	}
}
