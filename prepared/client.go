package prepared

// state says how certain something in a book is.
type state uint8

const (
	settled state = iota // the server has answered
	pending              // being prepared; the answer has not come yet
	closing              // being closed; the answer has not come yet
	stale                // on the server, but perhaps not what it was: prepare it anew
)

// Client is the book of one client: its names, and what they stand for.
type Client struct {
	library *Library
	limits  Limits
	scope   string
	names   map[string]*holding
	bytes   int
	unnamed unnamed
}

// holding is one name of a client.
type holding struct {
	st    *Statement
	name  string
	epoch uint32 // of the library, when it was prepared: older copies on servers are not good enough
	batch uint32 // of the message that made it pending or closing
	uses  uint16 // see Point
	state state  // never stale
}

// NewClient makes a book. Clients with the same scope share statements.
func NewClient(l *Library, limits Limits, scope string) *Client {
	return &Client{library: l, limits: limits, scope: scope, names: map[string]*holding{}}
}

// Rescope notes that the client's settings have changed. Its statements move to the new scope when they are used: under
// other settings the same text may mean something else.
func (c *Client) Rescope(scope string) {
	if c != nil {
		c.scope = scope
	}
}

// Len is the number of names.
func (c *Client) Len() int {
	if c == nil {
		return 0
	}
	return len(c.names)
}

// Release empties the book of a client that has left.
func (c *Client) Release() {
	if c == nil {
		return
	}
	for _, h := range c.names {
		c.drop(h)
	}
}

// add gives a name to a text.
func (c *Client) add(name, body string, batch uint32) *holding {
	h := &holding{st: c.library.hold(c.scope, body), name: name, epoch: c.library.epoch, batch: batch, state: pending}
	c.names[name] = h
	c.bytes += h.size()
	return h
}

// drop takes a holding out of the book, if it is there, and lets its statement go.
func (c *Client) drop(h *holding) {
	if c.names[h.name] == h {
		delete(c.names, h.name)
	}
	c.bytes -= h.size()
	c.library.release(h.st)
}

// over reports whether one more statement of a size would be over the bounds. What is being closed does not count.
func (c *Client) over(size int) (full, long bool) {
	n, bytes := len(c.names), c.bytes+size
	if n < c.limits.Client && bytes <= c.limits.Bytes {
		return false, false
	}
	for _, h := range c.names {
		if h.state == closing {
			n--
			bytes -= h.size()
		}
	}
	return n >= c.limits.Client, bytes > c.limits.Bytes
}

// size is what a holding counts. Its statement must be held.
func (h *holding) size() int { return len(h.name) + len(h.st.body) + perStatement }

// current moves a holding to the client's scope.
func (c *Client) current(h *holding) *Statement {
	if h.st.scope != c.scope {
		st := c.library.hold(c.scope, h.st.body)
		c.library.release(h.st)
		h.st = st
	}
	return h.st
}

// forget drops what the server's answer says is gone: DISCARD ALL and DEALLOCATE ALL. What the client has sent behind it is
// pending.
func (c *Client) forget() {
	if c == nil {
		return
	}
	for _, h := range c.names {
		if h.state == settled {
			c.drop(h)
		}
	}
}
