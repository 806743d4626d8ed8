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
	if c.statements == nil {
		c.statements = prepared.NewClient(&c.pool.library, c.pool.db.Statements, c.scope())
		s.statements.Use(c.statements)
	}
	out := append(h.rewritten[:0], b[:n]...)
	for s.relay.Named() {
		var k int
		out, k, err = s.relay.Rewrite(out, b[n:])
		n += k
		if err != nil || s.relay.Named() {
			break
		}
		if len(out) >= maxRewritten {
			s.conn.Write(out)
			if out = out[:0]; s.conn.Blocked() {
				break
			}
		}
		k, terminate, err = s.relay.FromClient(b[n:])
		out = append(out, b[n:n+k]...)
		n += k
		if err != nil || terminate {
			break
		}
	}
	s.conn.Write(out)
	h.rewritten = out
	if cap(out) > 4*maxRewritten {
		h.rewritten = nil
	}
	return n, terminate, err
}
