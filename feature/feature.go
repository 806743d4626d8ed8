// Package feature knows what of PostgreSQL outlives a transaction (LISTEN, advisory locks of a session, temporary tables, cursors
// WITH HOLD, SET, SQL's PREPARE): it finds it in the text of statements, and says who may listen to which channel. It does not
// know the protocol, clients or servers.
//
// What it finds in a text is for friendliness alone: a function, DO or EXECUTE can do the same unseen. The boundary between two
// identities is the reset of the server connection, which does not depend on it.
package feature

import (
	"fmt"
	"strings"
)

// Uses is a set of what statements do.
type Uses uint16

// The members of the set. The first six are features: what they leave on a server connection outlives the transaction.
const (
	Listen     Uses = 1 << iota // LISTEN
	Lock                        // an advisory lock of the session
	Temporary                   // CREATE TEMPORARY …, unless ON COMMIT DROP
	Hold                        // DECLARE … WITH HOLD
	Set                         // SET, but for SET LOCAL, SET TRANSACTION and SET CONSTRAINTS
	Prepare                     // SQL's PREPARE
	Unlock                      // pg_advisory_unlock…()
	Unlisten                    // UNLISTEN
	Deallocate                  // DEALLOCATE
	Notify                      // NOTIFY and pg_notify(); see Sent

	// Features are all that can be left on a server connection.
	Features = Listen | Lock | Temporary | Hold | Set | Prepare
)

// names are those of the settings, in the order of the bits.
var names = [...]string{"listen", "advisory_locks", "temporary_tables", "with_hold", "set", "prepare"}

// String names the features in the set as the settings do.
func (u Uses) String() string { return strings.Join(u.Names(), ",") }

// Names are those of the features in the set.
func (u Uses) Names() (list []string) {
	for i, name := range names {
		if u&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return list
}

// Choice is what becomes of a feature where clients share server connections.
type Choice uint8

// The choices.
const (
	Allow  Choice = iota // it stays on the server connection, for whoever of the identity comes next
	Pin                  // the server connection stays with the client
	Refuse               // it is an error
	Shared               // LISTEN: one connection of the proxy's own listens for all
	Follow               // SET: the setting goes with the client
)

var choices = map[string]Choice{"allow": Allow, "pin": Pin, "refuse": Refuse, "shared": Shared, "follow": Follow}

// ParseChoice reads a choice as the settings write it.
func ParseChoice(text string) (Choice, error) {
	c, ok := choices[text]
	if !ok {
		return Refuse, fmt.Errorf("unknown choice %q", text)
	}
	return c, nil
}

// Choices has the choice for each feature. The zero value allows everything.
type Choices struct {
	Listen, AdvisoryLocks, TemporaryTables, WithHold, Set, Prepare Choice
}

// With gives the features for which a choice is made.
func (c *Choices) With(choice Choice) (u Uses) {
	for i, made := range [...]Choice{c.Listen, c.AdvisoryLocks, c.TemporaryTables, c.WithHold, c.Set, c.Prepare} {
		if made == choice {
			u |= 1 << i
		}
	}
	return u
}
