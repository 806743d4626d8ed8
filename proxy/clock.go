package proxy

import (
	"errors"
	"time"

	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/trusted"
)

// maxClockStep is how far the machine's clock may be set while the difference to a server's clock still counts, which was measured when the
// connection was opened. The seals of the SQL dialect are good for seconds of the server's time.
const maxClockStep = 250 * time.Millisecond

// moment is one moment by both clocks: the one that can be set, and the one that only goes on.
type moment struct {
	wall    time.Time
	elapsed time.Duration // as hub.clock tells
}

func (h *hub) moment(now time.Time) moment { return moment{now.Round(0), now.Sub(h.born)} }

// clockSet reports whether the clock has been set since the connection was opened, where that matters: its seals would be of another time,
// and PostgreSQL would refuse the claims to its clients. An administrator may have done it, or a machine was asleep.
func (s *backend) clockSet(now time.Time) bool {
	if _, sealed := s.pool.db.Dialect.(*trusted.SQL); !sealed {
		return false
	}
	at := s.pool.hub.moment(now)
	return (at.wall.Sub(s.opened.wall) - (at.elapsed - s.opened.elapsed)).Abs() > maxClockStep
}

var errClockSet = errors.New("the machine's clock has been set")

// distrust closes all server connections of the pool that were opened before the clock was set.
func (sp *sharedPool) distrust(now time.Time) {
	for _, m := range sp.pool.CondemnIf(pool.ClockSet, func(m *pool.Server) bool { return m.Value.(*backend).clockSet(now) }) {
		m.Value.(*backend).closeFor(pool.ClockSet)
	}
}
