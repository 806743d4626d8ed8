package loop

import "syscall"

// muchSize is how many bytes a connection reads at once that had better be read without the detour of the poller's buffers.
const muchSize = 16 << 10

// arrival is what a poller that reads by itself keeps in a connection.
type arrival struct {
	arrived   []byte
	taken     int           // how much of that has been used
	lost      syscall.Errno // why there will be no more behind it
	lent      bool          // arrived is the poller's, until the end of the round
	armed     bool          // the poller reads, or says when there are bytes
	disarming bool          // it has been told to stop that
	bulk      bool          // much was read at once, the last time
}

// arrive takes what the poller has read; b is valid until the end of the round.
func (c *Conn) arrive(b []byte) {
	if len(c.arrived) == 0 {
		c.arrived, c.taken, c.lent = b, 0, true
		return
	}
	c.keepArrived()
	if c.taken > 0 {
		c.arrived = c.arrived[:copy(c.arrived, c.arrived[c.taken:])]
		c.taken = 0
	}
	c.arrived = append(c.loop.buffers.grow(c.arrived, len(b)), b...)
}

// keepArrived makes what has arrived the connection's own.
func (c *Conn) keepArrived() {
	if c.lent {
		rest := c.arrived[c.taken:]
		c.arrived = append(c.loop.buffers.get(len(rest)), rest...)
		c.taken, c.lent = 0, false
	}
}

func (c *Conn) dropArrived() {
	if !c.lent {
		c.loop.buffers.put(c.arrived)
	}
	c.arrived, c.taken, c.lent = nil, 0, false
}

// takeArrived reads what the poller has read; ok says that the kernel must not be asked.
func (c *Conn) takeArrived(b []byte) (n int, ok bool) {
	switch {
	case len(c.arrived) > 0:
		n = copy(b, c.arrived[c.taken:])
		if c.taken += n; c.taken == len(c.arrived) {
			c.dropArrived()
			if c.armed && !c.broken {
				c.flags &^= readable
			}
		}
		return n, true
	case c.lost != 0:
		c.failed = c.lost
		c.flags &^= readable
		return 0, true
	case c.armed:
		c.flags &^= readable
		if c.broken {
			c.loop.poller.broken(c)
		}
		return 0, true
	}
	return 0, false
}
