package trusted

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// Native is the dialect of databases with the claimpool extension (database/extension/PROTOCOL.md).
type Native struct {
	Key *NativeKey
}

// toRegprocedure is the OID of pg_catalog.to_regprocedure(text), the same in all versions. It is the one question that a
// closed gate answers.
const toRegprocedure = 3479

const (
	challengeName = "claimpool.challenge()"
	switchName    = "claimpool.switch(pg_catalog.bytea)"
)

// Pins is empty: the extension keeps its settings from everybody.
func (*Native) Pins() [][2]string { return nil }

// Greet finds the extension's two functions, and calls the first.
func (d *Native) Greet(s *Session, answer []string, _ time.Time) (ask []byte, err error) {
	switch n := s.native; {
	case answer == nil:
		s.native = &nativeSession{}
		return wire.AppendBinaryCall(nil, toRegprocedure, []byte(switchName)), nil
	case len(answer) != 1:
		return nil, errors.New("the answer of the extension has not one value")
	case n.switchOID == 0:
		if n.switchOID, err = oid(answer[0], switchName); err != nil {
			return nil, err
		}
		return wire.AppendBinaryCall(nil, toRegprocedure, []byte(challengeName)), nil
	case !n.asked:
		n.asked = true
		challenge, err := oid(answer[0], challengeName)
		if err != nil {
			return nil, err
		}
		return wire.AppendBinaryCall(nil, challenge), nil
	}
	c, err := parseChallenge([]byte(answer[0]))
	if err != nil {
		return nil, err
	}
	if c.pid != s.PID {
		return nil, errors.New("the extension's challenge is another connection's")
	}
	return nil, s.native.begin(d.Key, c)
}

func oid(value string, name string) (uint32, error) {
	if len(value) != 4 {
		return 0, fmt.Errorf("the database has no function %s: install the extension claimpool", name)
	}
	return binary.BigEndian.Uint32([]byte(value)), nil
}

// Install is one call of switch(): the backend resets itself when the identity is new to it. The one thing that is out of the
// extension's reach goes in front of it: the statement without a name, which the last user's Parse has left and the next
// one's Bind would run. A failed Close makes PostgreSQL skip all that follows, up to a Sync.
func (d *Native) Install(dst []byte, steps Steps, s *Session, id *claimpool.Identity, wipe bool, _ time.Time) ([]byte, Steps, time.Time) {
	if s.native == nil { // opened for another dialect, before a reload: there is no function 0, and what cannot be installed ends the connection
		return wire.AppendBinaryCall(dst, 0, nil), append(steps, StepCall), time.Time{}
	}
	var flags byte
	if s.Sessions {
		flags |= nativeFlagSession
	}
	if wipe {
		flags |= nativeFlagReset
		dst, steps = wire.AppendClose(dst, 'S', ""), append(steps, StepClose)
	}
	argument, err := s.native.switchTo(id, flags, s.following)
	if err != nil {
		argument = nil // NULL is refused, fatally: the connection ends and nothing runs
	}
	return wire.AppendBinaryCall(dst, s.native.switchOID, argument), append(steps, StepCall), time.Time{}
}

// Gated is true.
func (d *Native) Gated() bool { return true }
