package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// maxAddresses bounds how many addresses of one name are used: a name server must not choose how long a login may take.
const maxAddresses = 32

// name is what a name server has said about one host.
type name struct {
	addresses []string // what net.Dial wants
	until     time.Time
}

// choices gives the addresses of all hosts, in the order of the hosts, and why a host has none.
func (g *Group) choices(ctx context.Context, cfg *Config) (all []choice, errs []error) {
	for _, host := range cfg.Hosts {
		a, err := parseHost(host)
		if err != nil {
			return nil, []error{err}
		}
		list, err := g.resolve(ctx, a, cfg.timeout())
		if err != nil {
			errs = append(errs, fmt.Errorf("host %q: %w", host, err))
		}
		for _, dial := range list {
			one := a
			one.dial = dial
			all = append(all, choice{host: host, address: one})
		}
	}
	return all, errs
}

// resolve gives the addresses of a host: those of before while they are fresh, and also when its name cannot be resolved now.
func (g *Group) resolve(ctx context.Context, a address, timeout time.Duration) ([]string, error) {
	_, err := netip.ParseAddr(a.host)
	literal := err == nil || a.unix()
	g.mu.Lock()
	known := g.names[a.dial]
	if literal && known == nil {
		known = &name{addresses: []string{a.dial}}
		g.names[a.dial] = known
	}
	g.mu.Unlock()
	if literal || known != nil && time.Now().Before(known.until) {
		return known.addresses, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := g.lookup(ctx, a.host)
	if err == nil && len(found) == 0 {
		err = errors.New("the name has no address")
	}
	if err != nil {
		if known != nil { // a name server that is down takes no database with it
			return known.addresses, nil
		}
		return nil, &net.OpError{Op: "dial", Net: a.network, Err: because(ctx, err)}
	}
	_, port, _ := net.SplitHostPort(a.dial)
	var list []string
	for _, ip := range found[:min(len(found), maxAddresses)] {
		list = append(list, net.JoinHostPort(ip.Unmap().String(), port))
	}
	g.renamed(a.dial, list)
	return list, nil
}

func (g *Group) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if g.policy.Lookup != nil {
		return g.policy.Lookup(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// renamed notes the addresses of a host. Those that it had before and has no more are drained (see Keeps).
func (g *Group) renamed(host string, list []string) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.names[host]
	g.names[host] = &name{addresses: list, until: now.Add(g.policy.DNSTTL)}
	if before != nil {
		for _, dial := range before.addresses {
			if !slices.Contains(list, dial) && !g.named(dial) {
				delete(g.states, dial)
				g.version++
			}
		}
	}
	for _, dial := range list {
		g.state(dial)
	}
}

// named reports whether any host leads to an address. The caller holds mu.
func (g *Group) named(dial string) bool {
	for _, n := range g.names {
		if slices.Contains(n.addresses, dial) {
			return true
		}
	}
	return false
}
