//go:build linux

package load

import (
	"fmt"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxPaced bounds the logins that are due; a proxy that is this far behind is asked no more.
	maxPaced = 4096

	// maxBegun bounds those of them that have begun. Real clients have a processor each. These share one core, and without a bound each
	// pause of the machine leaves a thousand half-done handshakes, which take turns and are all slow: the proxy would be measured
	// with clients that keep it waiting for seconds.
	maxBegun = 256
)

// paced begins logins at a rate, however long each takes: half of them with tokens that are good, half with bad ones, which
// come from addresses of their own, as those of strangers do. A transaction is a login with a good token; its time runs from the moment
// when it was due.
func paced(o *Options) (*Result, error) {
	if o.Rate <= 0 || len(o.Tokens) == 0 || len(o.Bad) == 0 {
		return nil, fmt.Errorf("a rate, tokens and bad tokens are needed")
	}
	var (
		mu        sync.Mutex // guards what follows
		times     histogram
		done, bad int
		failure   error
		under     atomic.Int64
		begun     = make(chan struct{}, maxBegun)
		group     sync.WaitGroup
	)
	debug.SetGCPercent(1000) // the proxy's neighbour is to be cheap
	m, err := startMeter(o)
	if err != nil {
		return nil, err
	}
	login := func(n int) {
		start := time.Now()
		begun <- struct{}{}
		defer func() { <-begun }()
		var c *client
		var err error
		if n%2 == 0 {
			c, err = connect(o, n/2)
		} else {
			err = o.refused(n / 2)
		}
		took := time.Since(start)
		if c != nil {
			c.leave()
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil && failure == nil:
			failure = fmt.Errorf("login %d, after %.1f seconds: %w", n, start.Sub(m.began).Seconds(), err)
		case err != nil:
		case n%2 == 0:
			done++
			times.add(took)
		default:
			bad++
		}
	}
	for n := 0; time.Since(m.began) < o.Time; n++ {
		time.Sleep(time.Until(m.began.Add(time.Duration(float64(n) / o.Rate * float64(time.Second)))))
		if under.Add(1) > maxPaced {
			failure = fmt.Errorf("%d logins are under way: the proxy cannot keep up", maxPaced)
			break
		}
		group.Go(func() {
			defer under.Add(-1)
			login(n)
		})
	}
	group.Wait()
	if failure != nil {
		return nil, failure
	}
	r, err := m.result(done, &times)
	if r != nil {
		r.Refused = bad
	}
	return r, err
}

// refused logs in with a bad token, from an address that nobody else has, and holds that it is refused as a wrong password is; or
// unseen (08004), when its address happens to share the throttle's counters with others that have failed.
func (o *Options) refused(i int) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+i>>16&0x7f), byte(i>>8), byte(i))}}
	raw, err := d.Dial("tcp4", o.Addr)
	if err != nil {
		return err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(loginTimeout))
	own := *o
	own.Tokens = o.Bad
	err = (&client{raw: raw}).login(&own, i)
	switch {
	case err == nil:
		return fmt.Errorf("a bad token was taken")
	case !strings.Contains(err.Error(), "28P01") && !strings.Contains(err.Error(), "08004"):
		return fmt.Errorf("a bad token: %w", err)
	}
	return nil
}
