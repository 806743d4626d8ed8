//go:build linux

package load

import (
	"sync"
	"time"
)

// storm opens connections, logs in and leaves, in as many goroutines as there are clients; a transaction is a connection.
func storm(o *Options) (*Result, error) {
	var (
		mu      sync.Mutex // guards what follows
		m       *meter
		times   histogram
		done    int
		over    bool
		failure error
	)
	began := time.Now()
	step := func(took time.Duration, err error) bool {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case over:
		case err != nil:
			over, failure = true, err
		case m == nil:
			if time.Since(began) >= o.Warmup {
				m, failure = startMeter(o)
				over = failure != nil
			}
		default:
			done++
			times.add(took)
			over = time.Since(m.began) >= o.Time || o.Count > 0 && done >= o.Count
		}
		return !over
	}
	var group sync.WaitGroup
	for i := range o.Clients {
		group.Go(func() {
			for n := i; ; n += o.Clients {
				start := time.Now()
				c, err := connect(o, n)
				took := time.Since(start)
				if err == nil {
					c.leave()
				}
				if !step(took, err) {
					return
				}
			}
		})
	}
	group.Wait()
	if failure != nil {
		return nil, failure
	}
	return m.result(done, &times)
}
