package server

import (
	"context"
	"errors"
	"sync"
	"time"
)

// minCheckGap is the least time between two looks at the servers, whatever asks for one.
const minCheckGap = time.Second

// Due reports, once, that it is time for Check: the interval is over, the addresses are no longer fresh, or Doubt was called.
func (g *Group) Due(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.looking || now.Sub(g.lastLook) < minCheckGap || now.Before(g.nextLook) {
		return false
	}
	g.looking, g.lastLook = true, now
	pause := g.policy.CheckInterval
	if ttl := max(g.policy.DNSTTL, minCheckGap); pause == 0 || ttl < pause && g.byName() {
		pause = ttl
	}
	g.nextLook = now.Add(jitter(pause))
	return true
}

// byName reports whether any host is a name that is resolved. The caller holds mu.
func (g *Group) byName() bool {
	for _, n := range g.names {
		if !n.until.IsZero() {
			return true
		}
	}
	return false
}

// Doubt asks for a look at the servers soon: one of them has done what its kind does not, or has gone away.
func (g *Group) Doubt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nextLook = time.Time{}
}

// Check resolves the hosts again, and where there is a choice between servers logs in to each address, to see whether it is up and
// what it is. It follows a Due that said so. The error says what was found wrong, for the log.
func (g *Group) Check(ctx context.Context, cfg *Config) error {
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.looking = false
	}()
	all, errs := g.choices(ctx, cfg)
	if g.policy.CheckInterval == 0 || len(all) < 2 && g.policy.Attrs.any() {
		return errors.Join(errs...)
	}
	g.order(all) // makes their states
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { g.check(ctx, cfg, c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// check looks at one address.
func (g *Group) check(ctx context.Context, cfg *Config, c choice) {
	conn, err := open(ctx, cfg, c)
	switch {
	case err == nil:
		g.learned(c.address.dial, natureOf(conn.Params))
		_ = conn.Close()
	case ctx.Err() == nil:
		g.failed(c.address.dial, err, true)
	}
}
