package pool

import "github.com/claimpool/claimpool"

// share is who gets an equal part of the pool when there is not enough for all: one identity, or all identities with the
// same value of a claim. Those that wait are served in turn, so that one with a thousand clients in the queue delays one
// with a single client by no more than its turns.
type share struct {
	key     claimpool.Key
	entries int
	leased  int
	queue   list[Ticket]
	demand  int // how many of those that wait may be served: with ShareSize there may be fewer than wait
	inTurns node[share]
}

// share finds or makes the share of a new identity.
func (p *Pool) share(key claimpool.Key) *share {
	h := p.shares[key]
	if h == nil {
		h = &share{key: key}
		p.shares[key] = h
	}
	h.entries++
	return h
}

// Share is the part of the pool that an identity has, alone or with others.
func (e *Entry) Share() claimpool.Key { return e.share.key }

// settle brings the books up to date when a share has more or fewer servers or tickets than before: it has a turn while it
// has a demand.
func (p *Pool) settle(h *share) {
	demand := h.queue.n
	if p.paused {
		demand = 0
	}
	if size := p.cfg.ShareSize; size > 0 {
		demand = max(0, min(demand, size-h.leased))
	}
	switch {
	case h.demand == 0 && demand > 0:
		p.turns.push(&h.inTurns, h)
	case h.demand > 0 && demand == 0:
		p.turns.remove(&h.inTurns)
	}
	p.demand += demand - h.demand
	h.demand = demand
}

// served ends the turn of a share.
func (p *Pool) served(h *share) {
	if h.demand > 0 {
		p.turns.remove(&h.inTurns)
		p.turns.push(&h.inTurns, h)
	}
}

// full reports whether a share has all the servers that it may have.
func (p *Pool) full(h *share) bool {
	return p.paused || p.cfg.ShareSize > 0 && h.leased >= p.cfg.ShareSize
}

// head is the ticket whose turn it is; nil when nobody waits who may be served.
func (p *Pool) head() *Ticket {
	if h := p.turns.oldest(); h != nil {
		return h.queue.oldest()
	}
	return nil
}

// crowd is how many times the free places of the queue one share may have waiting, when it is not the only one: the room
// that is left for the others shrinks with every noisy one, and never to nothing.
const crowd = 8

// room reports whether the queue takes one more of a share.
func (p *Pool) room(h *share) bool {
	free := p.cfg.QueueLength - p.queue.n
	return free > 0 && (len(p.shares) == 1 || h.queue.n < crowd*free)
}

// Match gives an idle server to a waiting client that may have it now, because its share has given a server back or its limit
// was raised. Call it until it gives nil, behind Release and Remove and before Wanted.
func (p *Pool) Match() (*Server, *Ticket) {
	if !p.unmatched || p.demand == 0 || p.idle.n == 0 {
		p.unmatched = false
		return nil, nil
	}
	for at := p.queue.first; at != nil; at = at.next {
		if t := at.of; t.Entry.share.demand > 0 {
			if s := p.pick(t.Entry); s != nil {
				p.give(s, t)
				return s, t
			}
		}
	}
	p.unmatched = false
	return nil, nil
}
