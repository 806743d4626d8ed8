package proxy

import (
	"crypto/rand"
	"encoding/base64"
	"strings"

	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/prepared"
)

// randomName gives 128 bits that nobody can guess.
func randomName() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// keepStatements gives a new server its book of prepared statements, unless it will be one client's alone.
func (s *backend) keepStatements() {
	if s.pool.pool.Config().Mode == pool.Session {
		return
	}
	s.statements = prepared.NewServer(&s.pool.library, s.pool.db.Statements.Server)
	s.relay.Keep(s.statements)
}

// scope is what two clients must have in common to share statements: the identity, where it matters on a connection, and
// all settings but the one that changes the meaning of no text.
func (c *client) scope() string {
	var b strings.Builder
	if !c.server.session.Unisolated {
		key := c.identity.Key()
		b.Write(key[:])
	}
	for _, kv := range c.settings.List() {
		if !strings.EqualFold(kv[0], "application_name") {
			b.WriteString(kv[0] + "\x00" + kv[1] + "\x00")
		}
	}
	return b.String()
}

// maxRewritten is how much is collected before it is written. A few bytes of a client may become a long text for the
// server: while the server does not take it, no more is read.
const maxRewritten = 64 << 10

// rewrite forwards what stands in front of messages that name statements, those messages under the server's names, and so
// on. n bytes of b, in front of the first one, may go as they are.
func (c *client) rewrite(b []byte, n int) (used int, terminate bool, err error) {
	s, h := c.server, c.pool.hub
	h.rewritten = append(h.rewritten[:0], b[:n]...)
	for more := true; more && err == nil; {
		n, more, terminate, err = c.rename(b, n)
		s.conn.Write(h.rewritten)
		h.rewritten = h.rewritten[:0]
		more = more && !s.conn.Blocked()
	}
	if cap(h.rewritten) > 4*maxRewritten {
		h.rewritten = nil
	}
	return n, terminate, err
}

// rename collects in hub.rewritten what the server is to get for b[n:], where a message that names a statement is next. more
// says that it has stopped because that is much.
func (c *client) rename(b []byte, n int) (used int, more, terminate bool, err error) {
	s, h := c.server, c.pool.hub
	if c.statements == nil {
		c.statements = prepared.NewClient(&c.pool.library, c.pool.db.Statements, c.scope())
		s.statements.Use(c.statements)
	}
	for s.relay.Named() {
		if len(h.rewritten) >= maxRewritten {
			return n, true, false, nil
		}
		var k int
		h.rewritten, k, err = s.relay.Rewrite(h.rewritten, b[n:])
		n += k
		if err != nil || s.relay.Named() {
			break
		}
		k, terminate, err = s.relay.FromClient(b[n:])
		h.rewritten = append(h.rewritten, b[n:n+k]...)
		n += k
		if err != nil || terminate {
			break
		}
	}
	return n, false, terminate, err
}
