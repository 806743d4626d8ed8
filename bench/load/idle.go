//go:build linux

package load

import (
	"fmt"
	"syscall"
	"time"

	"github.com/claimpool/claimpool/bench/proc"
)

// idle logs in many clients and looks at the memory of the process that serves them: once with the first tenth, which
// warms up buffers and heap, and once with all of them. The difference, divided by the other nine tenths, is what one
// more idle client costs.
func idle(o *Options) (*Result, error) {
	if limit := descriptors() - 500; o.Clients > limit { // the proxy, which has the same limit, needs some for itself
		o.Clients = limit
	}
	tenth := max(1, o.Clients/10)
	clients, err := connectAll(o, tenth)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, c := range clients {
			c.leave()
		}
	}()
	time.Sleep(o.Warmup)
	base, err := proc.ReadMemory(o.PID)
	if err != nil {
		return nil, err
	}
	m, err := startMeter(o)
	if err != nil {
		return nil, err
	}
	more, err := connectMore(o, tenth, o.Clients)
	if err != nil {
		return nil, err
	}
	clients = append(clients, more...)
	time.Sleep(o.Warmup)
	r, err := m.result(len(more), &histogram{})
	if err != nil {
		return nil, err
	}
	r.Base, r.PerClient = base, float64(r.Memory.Anon-base.Anon)/float64(len(more))
	return r, stillThere(clients)
}

// stillThere checks that nobody was thrown out while idle.
func stillThere(clients []*client) error {
	for i, c := range clients {
		if i%(len(clients)/100+1) != 0 {
			continue
		}
		_ = c.raw.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.raw.Read(make([]byte, 1)); !isTimeout(err) {
			return fmt.Errorf("client %d was not left alone while idle: %v", i, err)
		}
	}
	return nil
}

func isTimeout(err error) bool {
	e, ok := err.(interface{ Timeout() bool })
	return ok && e.Timeout()
}

// descriptors is how many descriptors this process may have open.
func descriptors() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(r.Max, 1<<20))
}
