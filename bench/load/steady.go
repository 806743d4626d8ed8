//go:build linux

package load

import "time"

// pace starts transactions at a rate, whatever the proxy takes for each: as people do, who do not wait for one another. One that is
// due while all clients are busy begins with the next that is free, and its wait counts.
type pace struct {
	every time.Duration // between two transactions
	next  time.Time     // when the next one is due
	free  []*member
	late  []time.Time // those that were due while nobody was free
}

// start begins what is due now.
func (p *pace) start(l *loop, now time.Time) error {
	for ; !p.next.After(now); p.next = p.next.Add(p.every) {
		if len(p.free) == 0 {
			p.late = append(p.late, p.next)
			continue
		}
		m := p.free[0]
		p.free = p.free[1:]
		if err := l.begin(m); err != nil {
			return err
		}
	}
	return nil
}

// again gives a client what has waited for one, or nothing to do.
func (p *pace) again(l *loop, m *member) error {
	if len(p.late) == 0 {
		p.free = append(p.free, m)
		return nil
	}
	due := p.late[0]
	p.late = p.late[1:]
	err := l.begin(m)
	m.began = due
	return err
}
