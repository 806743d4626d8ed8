package trusted

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// SQL is the dialect of databases where only SQL can be installed. There is no gate in it: a hand-over is awaited before
// the client's first message goes out.
type SQL struct {
	Key    *SQLKey
	Window time.Duration // how long after its seal a transaction may begin
}

// Pins empties the setting of the context: what a superuser was talked into with ALTER ROLE … SET must not be there when a
// connection begins.
func (*SQL) Pins() [][2]string { return [][2]string{{SQLSetting, ""}} }

// Greet asks the database for its version, its name for this connection, and its clock.
func (d *SQL) Greet(s *Session, answer []string, now time.Time) ([]byte, error) {
	if answer == nil {
		return wire.AppendQuery(nil, SQLGreeting), nil
	}
	if len(answer) != 1 {
		return nil, errors.New("the greeting of the database has not one value")
	}
	g, err := ParseSQLGreeting(answer[0])
	if err != nil {
		return nil, err
	}
	s.binding, s.offset, s.sealer = g.Binding, g.Clock.Sub(now), d.Key.Sealer()
	return nil, nil
}

// Install seals the claims for this server connection, for transactions that begin soon. The last quarter of the window
// is left for the way to the server: a seal that is nearly over is renewed.
func (d *SQL) Install(dst []byte, steps Steps, s *Session, id *claimpool.Identity, _ bool, now time.Time) ([]byte, Steps, time.Time) {
	claims := id.Claims
	if s.settings.Foreign() { // the client's encoding is in force when a seal is renewed
		claims = ascii(claims)
	}
	seal, err := s.sealer.AppendSeal(nil, s.binding, now.Add(s.offset), d.Window, claims)
	if err != nil {
		// Nothing that is installed can be read as a context, and jwt() says so: the client gets errors, never rows.
		seal = []byte("unsealed")
	}
	dst = wire.AppendFunctionCall(dst, setConfig, []byte(SQLSetting), seal, []byte("f"))
	return dst, append(steps, StepCall), now.Add(d.Window - d.Window/4)
}

// ascii writes JSON without a byte that means different things in different encodings. Letters beyond ASCII stand in strings
// only, where an escape means the same.
func ascii(json []byte) []byte {
	b := make([]byte, 0, len(json)+32)
	for _, r := range string(json) {
		switch {
		case r < utf8.RuneSelf:
			b = append(b, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, "\\u%04x\\u%04x", high, low)
		default:
			b = fmt.Appendf(b, "\\u%04x", r)
		}
	}
	return b
}

// Gated is false.
func (d *SQL) Gated() bool { return false }
