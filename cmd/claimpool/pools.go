package main

import (
	"context"

	"github.com/claimpool/claimpool/admin"
	"github.com/claimpool/claimpool/proxy"
)

// shownPools shows a proxy's pools to administrators.
type shownPools struct{ proxy *proxy.Proxy }

// Pools is part of admin.Pools.
func (s shownPools) Pools(ctx context.Context) ([]admin.Pool, error) {
	states, err := s.proxy.Pools(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]admin.Pool, 0, len(states))
	for i := range states {
		st := &states[i]
		list = append(list, admin.Pool{
			Database: st.Database, Target: st.Target, Role: st.Role, Mode: string(st.Limits.Mode),
			Servers: admin.PoolServers{
				Active: st.Active, Idle: st.Idle, Opening: st.Opening, Pinned: st.Pinned, PinnedBy: st.PinnedBy,
				OldestPin: st.OldestPin.Milliseconds(), Unsure: st.Unsure, Pins: st.Pool.Pins, PinsTimedOut: st.Counts.PinsTimedOut,
			},
			Clients: admin.PoolClients{
				Connected: st.Clients, Active: st.Working, Waiting: st.Waiting, LongestWait: st.LongestWait.Milliseconds(),
			},
			Limits: admin.PoolLimits{
				Size: st.Limits.Size, Reserve: st.Limits.Reserve, PinSize: st.Limits.Pins, PinTimeout: st.PinTimeout.Milliseconds(),
				QueueLength: st.Limits.QueueLength, QueueWait: st.Limits.QueueWait.Milliseconds(),
			},
		})
	}
	return list, nil
}
