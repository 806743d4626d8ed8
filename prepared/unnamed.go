package prepared

// unnamed is a client's unnamed statement. In PostgreSQL it lives until the next Parse without a name, a simple query or its Close
// (protocol-flow, Extended Query), over the ends of transactions: many drivers prepare it in one round trip and execute it in another.
type unnamed struct {
	text  []byte // of the Parse, behind the name
	batch uint32 // in pending: of the Parse, as in Point
	ack   uint32
	uses  uint16 // as in Point
	state unnamedState
}

type unnamedState uint8

const (
	noStatement unnamedState = iota
	unanswered
	prepares // whoever has no unnamed statement of this client gets it by this text
)

// Unnamed takes a Parse without a name that goes to the server as it is; text is what stands behind the name. It reports false where
// there is no book of the client yet: then Rewrite is asked.
func (s *Server) Unnamed(text []byte, batch, ack uint32) bool {
	if s.client == nil {
		return false
	}
	s.client.unnamed.set(text, batch, ack, s.client.limits.Bytes)
	return true
}

// UnnamedDoes says what its text does, as in Point.
func (s *Server) UnnamedDoes(uses uint16) { s.client.unnamed.uses = uses }

// DropUnnamed says that the client has no unnamed statement any more.
func (c *Client) DropUnnamed() {
	if c != nil {
		c.unnamed.state = noStatement
	}
}

// NoUnnamed says that the client's unnamed statement is closed.
func (s *Server) NoUnnamed() {
	if s.client != nil {
		s.client.unnamed.state = noStatement
	}
}

// Prepared takes a ParseComplete that no entry of the book expects.
func (s *Server) Prepared(batch, ack uint32) {
	if s == nil || s.client == nil {
		return
	}
	if u := &s.client.unnamed; u.state == unanswered && u.batch == batch && u.ack == ack {
		u.state = prepares
	}
}

// set begins a new statement; the one before it is gone, whatever becomes of this one.
func (u *unnamed) set(text []byte, batch, ack uint32, limit int) {
	if len(text) > limit {
		u.text, u.state = nil, noStatement
		return
	}
	if cap(u.text) > 1024 && len(text) < cap(u.text)/4 {
		u.text = nil // an idle client holds no more than it needs
	}
	u.text = append(u.text[:0], text...)
	u.batch, u.ack, u.state = batch, ack, unanswered
}

// ready is the end of a batch: a Parse that was not answered has failed, or was skipped behind an error, which may have been one in
// front of it. To be sure that no statement is executed that PostgreSQL has dropped, it is dropped.
func (u *unnamed) ready(batch uint32) {
	if u.state == unanswered && u.batch <= batch {
		u.state = noStatement
	}
}
