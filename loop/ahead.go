package loop

// ReadAhead is for Hangup: it reads what the peer has sent before it closed, adds it to what is kept, and reports whether that is all of
// it. What a full read buffer does not hold stays in the kernel. The handler is shown all of it after Resume, as ever.
func (c *Conn) ReadAhead() (all bool) {
	if c.closed || c.failed != nil {
		return true
	}
	buf := c.loop.buf
	kept := copy(buf, c.in)
	n := kept
	for n < len(buf) {
		m := c.read(buf[n:])
		n += m
		if m == 0 {
			break
		}
	}
	if n > kept {
		c.loop.buffers.put(c.in)
		c.in = append(c.loop.buffers.get(n), buf[:n]...)
	}
	return n < len(buf)
}
