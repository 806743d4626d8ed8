package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/admin"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/proxy"
)

// Measure is part of admin.Meter.
func (s *service) Measure(ctx context.Context) (*admin.Measures, error) {
	st, err := s.proxy.Stats(ctx)
	if err != nil {
		return nil, err
	}
	m := &admin.Measures{Clients: st.Clients, Streams: st.Streams, Ready: s.ready(), Dropped: st.Dropped, Refused: st.Refused, CutOff: st.CutOff}
	for i := range st.Pools {
		m.Pools = append(m.Pools, measurePool(&st.Pools[i]))
	}
	for _, method := range slices.Sorted(maps.Keys(st.Logins)) {
		l := st.Logins[method]
		m.Logins = append(m.Logins, admin.LoginMeasures{Method: string(method), Accepted: l.Accepted, Left: l.Left, Refused: l.Refused, Took: l.Took})
	}
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	at := s.env.now()
	for _, name := range slices.Sorted(maps.Keys(now.issuers.remotes)) {
		r := now.issuers.remotes[name].Stats()
		m.Issuers = append(m.Issuers, admin.IssuerMeasures{Name: name, Fetches: r.Fetches, Failures: r.Failures, Keys: r.Keys, Age: age(r.Fetched, time.Now())})
	}
	known := now.issuers.known.Stats()
	m.Signatures = admin.SignatureMeasures{Hits: known.Hits, Misses: known.Misses, Known: known.Known}
	if now.revoked != nil {
		m.Revocations = &admin.RevocationMeasures{Entries: now.revoked.set.Len(), Age: age(now.revoked.set.Read(), at)}
	}
	if s.audit.stream != nil {
		m.Audit = new(admin.AuditMeasures(s.audit.stream.Stats()))
	}
	return m, nil
}

// age is negative for what has not happened yet.
func age(since, now time.Time) time.Duration {
	if since.IsZero() {
		return -1
	}
	return max(0, now.Sub(since))
}

func measurePool(st *proxy.PoolState) admin.PoolMeasures {
	m := admin.PoolMeasures{
		Database: st.Database, Target: st.Target, Role: st.Role, Mode: string(st.Limits.Mode), Unlisted: st.Unlisted,
		Active: st.Active, Idle: st.Idle, Opening: st.Opening, Pinned: st.Pinned, Unsure: st.Unsure,
		Clients: st.Clients, Working: st.Working, Waiting: st.Waiting, LongestWait: st.LongestWait, OldestPin: st.OldestPin,
		Size: st.Limits.Size, Reserve: st.Limits.Reserve, PinSize: st.Limits.Pins, QueueLength: st.Limits.QueueLength, QueueWait: st.Limits.QueueWait,
		Handovers: map[string]uint64{}, Transactions: st.Counts.Transactions, Held: st.Counts.Held, Waits: st.Counts.Waits,
		QueueFull: st.Pool.Refused, TimedOut: st.Pool.TimedOut, Opened: st.Pool.Opened, OpenFailed: st.Counts.OpenFailed,
		Closed: map[string]uint64{}, Pins: st.Pool.Pins, PinsTimedOut: st.Counts.PinsTimedOut, ToServers: st.Counts.ToServers, ToClients: st.Counts.ToClients,
	}
	for kind, n := range st.Counts.Handovers {
		m.Handovers[proxy.Handover(kind).String()] = n
	}
	for why, n := range st.Pool.Closed {
		if n > 0 {
			m.Closed[pool.Reason(why).String()] = n
		}
	}
	return m
}

// ready reports whether all listeners take clients in: no drain has begun.
func (s *service) ready() bool { return s.listeners > 0 && s.proxy.Listening() == s.listeners }

// administrators is the endpoint for them, and for the programs that look at the proxy.
func (s *service) administrators(cfg config.Admin) (http.Handler, error) {
	secret, err := s.adminToken(cfg.Token)
	if err != nil {
		return nil, fmt.Errorf("admin.token: %w", err)
	}
	tokens := []claimpool.Secret{secret}
	if !cfg.MetricsToken.Empty() {
		own, err := s.adminToken(cfg.MetricsToken)
		if err == nil && subtle.ConstantTimeCompare(own, secret) == 1 {
			err = errors.New("it is that of administrators: whoever reads metrics could sign people out")
		}
		if err != nil {
			return nil, fmt.Errorf("admin.metrics_token: %w", err)
		}
		tokens = append(tokens, own)
	}
	var kept admin.Revocations
	if s.now.revoked != nil {
		kept = s.now.revoked.table
	}
	auditor := s.audit.auditor()
	return admin.Monitored(admin.Handler(secret, kept, shownPools{s.proxy}, auditor, s.log),
		admin.MetricsHandler(tokens, s, buildOf(), auditor, s.log), s.health), nil
}

func buildOf() admin.Build {
	b := admin.Build{Version: version, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	return b
}
