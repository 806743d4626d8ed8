// Package trusted turns an identity into the bytes that hand a server connection over to it: reset what the last one
// left, install the new context, apply the client's settings; and it says which replies must come. It is the only package
// that writes SQL for server connections. It does not know sockets or pools.
//
// A hand-over is all or nothing: unless every step has had exactly the reply that it must have, the connection is closed.
// See docs/explanation/threat-model.md.
package trusted

import (
	"bytes"
	"strconv"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// setConfig is the OID of pg_catalog.set_config(text, text, boolean), the same in all versions. A function that is called
// by its OID in a FunctionCall message cannot be shadowed by a name, a search_path or a prepared statement, and its
// arguments reach no log and no view.
const setConfig = 2078

// setSeed is the OID of pg_catalog.setseed(double precision).
const setSeed = 1599

// Dialect installs contexts in one kind of database.
type Dialect interface {
	// Pins are parameters for the startup packet.
	Pins() [][2]string

	// Greet is the conversation with a new server connection. It is called without an answer first, and then with the
	// values that came back, until it asks for nothing. What it asks is whole messages that end in one ReadyForQuery.
	Greet(s *Session, answer []string, now time.Time) (ask []byte, err error)

	// Install appends the messages that put the identity's claims on, the steps that their replies must show, and the
	// moment until which transactions may begin under them (zero: for ever). wipe says that the connection has been
	// another's: what is left on it must go first, where Gated says that Install does that.
	Install(dst []byte, steps Steps, s *Session, id *claimpool.Identity, wipe bool, now time.Time) ([]byte, Steps, time.Time)

	// Gated reports whether the database itself resets a connection in Install, takes the context away when a transaction
	// fails, and runs nothing at all while there is none.
	Gated() bool
}

// Session is what the proxy knows about the trust of one server connection.
type Session struct {
	PID  uint32         // the server's process
	Seed func() float64 // a random number from 0 to 1 that nobody can guess; nil: random() keeps the last user's seed

	// Sessions says that one client keeps the connection for a whole session (session mode).
	Sessions bool

	// Unisolated says that identities do not matter on the connection: it carries no context, and is not reset between two of them.
	Unisolated bool

	native    *nativeSession      // nil unless the dialect is Native
	binding   string              // how the database names this connection in seals
	offset    time.Duration       // the server's clock minus ours
	sealer    *SQLSealer          // nil unless the dialect is SQL
	id        *claimpool.Identity // whose state the connection carries; nil: nobody's yet
	born      *Settings           // the client settings that it was opened with; nil: none
	settings  *Settings           // the client settings that are applied
	following int                 // calls for settings behind the Install under way
	soiled    bool                // reset before anybody's next use
	until     time.Time           // transactions under the installed context must begin before this; zero: any time
}

// Carries gives the identity whose state the connection carries; nil when there is none.
func (s *Session) Carries() *claimpool.Identity { return s.id }

// Settings gives the client settings that are applied.
func (s *Session) Settings() *Settings { return s.settings }

// Observed notes that the client itself has changed its settings on this connection.
func (s *Session) Observed(set *Settings) { s.settings = set }

// Ready reports whether the connection can serve the identity as it is, with nothing sent in front. It is all that a
// transaction pays when the same identity comes again.
func (s *Session) Ready(id *claimpool.Identity, set *Settings, now time.Time) bool {
	return s.settings == set && !s.soiled && s.same(id) && (s.until.IsZero() || now.Before(s.until))
}

// Together reports whether the client's first request may follow a hand-over in the same write: the gate is on, so that
// nothing of it runs when the hand-over fails. In a session the replies are awaited.
func (s *Session) Together() bool { return s.native != nil && s.native.gated && !s.Sessions }

// same reports whether the installed context is the identity's own, to the byte.
func (s *Session) same(id *claimpool.Identity) bool {
	if s.id == id || s.Unisolated {
		return true
	}
	return s.id != nil && s.id.Key() == id.Key() && bytes.Equal(s.id.Claims, id.Claims)
}

// Wipes reports whether a hand-over to the identity takes away everything that is left on the connection: settings,
// prepared statements, temporary objects.
func (s *Session) Wipes(id *claimpool.Identity) bool {
	return s.soiled || !s.same(id) && s.id != nil && s.id.Key() != id.Key()
}

// Handover appends the messages that make the connection serve the identity with the client's settings, and the steps
// that the replies must show. From this moment the connection counts as the identity's: when a step fails, close it.
func (s *Session) Handover(dst []byte, d Dialect, id *claimpool.Identity, set *Settings, now time.Time) ([]byte, Steps) {
	var steps Steps
	same := s.same(id)
	other := s.Wipes(id)
	wiped := other
	switch {
	case other && d.Gated(): // Install does it
	case other:
		// RESET ALL comes first: the last user may have left settings (a statement_timeout of 1 ms, a thousand temporary
		// tables) that make DISCARD ALL fail. RESET ROLE is part of neither in all versions.
		dst, steps = wire.AppendQuery(dst, "RESET ALL; RESET ROLE"), append(steps, StepResetFirst, StepReset)
		dst, steps = wire.AppendQuery(dst, "DISCARD ALL"), append(steps, StepDiscard)
		if s.Seed != nil { // setseed() is what DISCARD ALL forgets: the last user would know the next one's random()
			seed := strconv.FormatFloat(s.Seed(), 'f', -1, 64)
			dst, steps = wire.AppendFunctionCall(dst, setSeed, []byte(seed)), append(steps, StepCall)
		}
	case s.settings != set && s.settings != s.born:
		dst, steps = wire.AppendQuery(dst, "RESET ALL"), append(steps, StepReset)
		wiped = true
	}
	if wiped {
		s.settings = s.born
	}
	if id.Claims == nil && !d.Gated() {
		s.until = time.Time{}
	} else if wiped || !same || (!s.until.IsZero() && !now.Before(s.until)) {
		if s.following = 0; s.settings != set {
			s.following = len(set.list)
		}
		dst, steps, s.until = d.Install(dst, steps, s, id, other, now)
	}
	s.id, s.soiled = id, false
	if s.settings != set {
		for _, kv := range set.list {
			dst, steps = wire.AppendFunctionCall(dst, setConfig, []byte(kv[0]), []byte(kv[1]), []byte("f")), append(steps, StepSetting)
		}
		s.settings = set
	}
	return dst, steps
}

// Renew appends the installation of the context that the connection has, once more.
func (s *Session) Renew(dst []byte, d Dialect, id *claimpool.Identity, now time.Time) []byte {
	s.following = 0
	dst, _, s.until = d.Install(dst, nil, s, id, false, now)
	return dst
}

// Check appends a sign-of-life request.
func Check(dst []byte, steps Steps) ([]byte, Steps) {
	return wire.AppendSync(dst), append(steps, StepSync)
}

// Rollback appends the end of a transaction that a client has left open.
func Rollback(dst []byte) ([]byte, Steps) {
	return wire.AppendQuery(dst, "ROLLBACK"), Steps{StepRollback}
}

// unknown stands for settings that nobody knows: no client asks for it.
var unknown = &Settings{}

// Wiped notes that the settings and the context on the connection may be gone or others than were seen: the client has run
// RESET ALL or DISCARD ALL, or a transaction in which it has changed them was rolled back behind its back. The next hand-over,
// to the same identity too, begins them anew.
func (s *Session) Wiped() { s.settings, s.until = unknown, time.Unix(0, 1) }

// Dropped notes that the database has taken the context away: the next hand-over installs it again.
func (s *Session) Dropped() { s.until = time.Unix(0, 1) }

// Soil notes that the connection holds state that even its own identity must not find: the next hand-over resets it.
func (s *Session) Soil() { s.soiled = true }

// ClientsFault reports whether a hand-over failed because of a setting that the client itself has brought: another server
// would refuse it too, and the client should read why.
func ClientsFault(r *Replies, e *claimpool.Error) bool {
	if r.Done() || r.steps[0] != StepSetting || len(e.Code) < 2 {
		return false
	}
	switch e.Code[:2] {
	case "08", "53", "57", "58", "XX": // the server's trouble, or a neighbour's pg_cancel_backend
		return false
	}
	return true
}
