package prepared

// Has reports whether the client has a statement of a name, as SQL's DEALLOCATE would name it.
func (c *Client) Has(name string) bool {
	if c == nil || name == "" {
		return false
	}
	h := c.names[string(short([]byte(name)))]
	return h != nil && h.state == settled
}

// Deallocate drops a statement that the client has, as SQL's DEALLOCATE does. Servers forget it when they need room.
func (c *Client) Deallocate(name string) {
	if c.Has(name) {
		c.drop(c.names[string(short([]byte(name)))])
	}
}
