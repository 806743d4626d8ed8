package admin

import (
	"context"
	"time"

	"github.com/claimpool/claimpool"
)

func init() {
	views["STATS"] = view{
		columns("database", "target", "role", "transactions number", "xact_ms number", "avg_xact_us number", "waits number", "wait_ms number", "queue_full number", "timed_out number",
			"from_clients_bytes number", "to_clients_bytes number", "switches number", "sv_opened number", "sv_open_failed number", "sv_closed number"),
		"what each pool has counted since it was made", showStats,
	}
	views["LOGINS"] = view{columns("method", "accepted number", "refused number", "left number", "avg_ms number"), "what became of logins, by method", showLogins}
}

func (s *session) measure(ctx context.Context) (*Measures, error) {
	if s.Meter == nil {
		return nil, errNotHere
	}
	m, err := s.Meter.Measure(ctx)
	if err != nil {
		return nil, errNoPools(err)
	}
	return m, nil
}

func showStats(ctx context.Context, s *session) (rows [][]any, err error) {
	m, err := s.measure(ctx)
	if err != nil {
		return nil, err
	}
	for i := range m.Pools {
		p := &m.Pools[i]
		rows = append(rows, []any{
			p.Database, p.Target, p.Role, int64(p.Transactions), p.Held.Sum.Milliseconds(), average(&p.Held, time.Microsecond), int64(count(&p.Waits)),
			p.Waits.Sum.Milliseconds(), int64(p.QueueFull), int64(p.TimedOut), int64(p.ToServers), int64(p.ToClients), int64(p.Handovers["switch"]),
			int64(p.Opened), int64(p.OpenFailed), int64(total(p.Closed)),
		})
	}
	return rows, nil
}

func showLogins(ctx context.Context, s *session) (rows [][]any, err error) {
	m, err := s.measure(ctx)
	if err != nil {
		return nil, err
	}
	for i := range m.Logins {
		l := &m.Logins[i]
		rows = append(rows, []any{l.Method, int64(l.Accepted), int64(total(l.Refused)), int64(l.Left), average(&l.Took, time.Millisecond)})
	}
	return rows, nil
}

func count(d *claimpool.Durations) (n uint64) {
	for _, k := range d.Counts {
		n += k
	}
	return n
}

func average(d *claimpool.Durations, unit time.Duration) int64 {
	if n := count(d); n > 0 {
		return int64(d.Sum / time.Duration(n) / unit)
	}
	return 0
}

func total(m map[string]uint64) (n uint64) {
	for _, k := range m {
		n += k
	}
	return n
}
