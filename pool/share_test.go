package pool

import (
	"fmt"
	"testing"
)

// A share with a hundred clients in the queue takes turns with one that has a single client: whoever comes waits for
// maxPassed transactions of others at most, and for one turn of each other share.
func TestOneShareCannotStarveAnother(t *testing.T) {
	for _, quiet := range []int{1, 5} {
		t.Run(fmt.Sprint(quiet), func(t *testing.T) {
			p, s := with(t, defaults(), "noisy")
			noisy := make([]*Ticket, 80)
			for i := range noisy {
				noisy[i] = ticket(p, "noisy")
				queue(t, p, noisy[i], epoch)
			}
			waits := map[*Ticket]int{}
			for i := range quiet {
				x := ticket(p, fmt.Sprint("quiet ", i))
				queue(t, p, x, epoch)
				waits[x] = 0
			}
			for round := range 500 {
				got, _ := p.Release(s, Keep, epoch)
				if n, ok := waits[got]; ok {
					if n > (maxPassed+1)*(quiet+1) {
						t.Fatalf("round %d: %v has waited for %d others", round, got.Value, n)
					}
					waits[got] = 0
				}
				for x := range waits {
					if x != got {
						waits[x]++
					}
				}
				queue(t, p, got, epoch) // everybody wants more at once
			}
			for x, n := range waits {
				if n > (maxPassed+1)*(quiet+1) {
					t.Errorf("%v has waited for %d others", x.Value, n)
				}
			}
		})
	}
}

// Identities with the same share take their turns together.
func TestIdentitiesOfOneShareAreOne(t *testing.T) {
	p, s := with(t, defaults(), "holder")
	var tickets []*Ticket
	for i := range 10 {
		x := &Ticket{Value: "crowd", Entry: p.Enter(key(fmt.Sprint("member ", i)), key("crowd"))}
		queue(t, p, x, epoch)
		tickets = append(tickets, x)
	}
	alone := ticket(p, "alone")
	queue(t, p, alone, epoch)
	if got, _ := p.Release(s, Keep, epoch); got != tickets[0] {
		t.Fatalf("first %v", got.Value)
	}
	if got, _ := p.Release(s, Keep, epoch); got != alone {
		t.Fatalf("then %v", got.Value)
	}
	if got, _ := p.Release(s, Keep, epoch); got != tickets[1] {
		t.Fatalf("then %v", got.Value)
	}
}

// One noisy share fills the queue only so far that others find room.
func TestQueueLeavesRoomForOthers(t *testing.T) {
	cfg := defaults()
	cfg.QueueLength = 90
	p, _ := with(t, cfg, "noisy")
	ticket(p, "quiet")
	n := 0
	for ; ; n++ {
		if _, v := p.Acquire(ticket(p, "noisy"), epoch); v == Refused {
			break
		}
	}
	if n != 80 {
		t.Errorf("%d of one share wait", n)
	}
	for i := range 10 {
		if _, v := p.Acquire(ticket(p, fmt.Sprint("quiet ", i)), epoch); v != Queued {
			t.Fatalf("number %d of the others is refused", i)
		}
	}
	if _, v := p.Acquire(ticket(p, "one too many"), epoch); v != Refused {
		t.Error("the queue is longer than it may be")
	}
}
