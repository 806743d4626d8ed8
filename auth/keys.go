package auth

import (
	"bytes"
	"sync"

	"github.com/claimpool/claimpool/scram"
)

// maxKeys bounds how many users' keys are kept. Only users who have proved themselves have some.
const maxKeys = 100_000

// Keys keeps what clients have proved their passwords with, so that the proxy can log in to the server as the same user without
// knowing the password (SCRAM pass-through): ClientKey, which a right proof gives away to whoever has the verifier (RFC 5802,
// section 9, "Security Considerations"), and the verifier's ServerKey. They are good for servers with the same verifier alone. The
// zero Keys is empty, and safe for use by many goroutines.
type Keys struct {
	mu     sync.Mutex
	byUser map[userOf]scram.Credential // under mu
}

// userOf is a user of one database of the configuration.
type userOf struct{ database, name string }

// Get gives what the last client of that name has proved itself with. The copy is the caller's, to be cleared.
func (k *Keys) Get(database, role string) (scram.Credential, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.byUser[userOf{database, role}]
	c.Password = bytes.Clone(c.Password)
	return c, ok
}

func (k *Keys) put(database, name string, c scram.Credential) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byUser == nil {
		k.byUser = map[userOf]scram.Credential{}
	}
	if _, known := k.byUser[userOf{database, name}]; known || len(k.byUser) < maxKeys {
		k.byUser[userOf{database, name}] = c
	}
}

// remember keeps what a client has just proved itself with, if its rule wants that and the server's role will be its own.
func (x *exchange) remember(s stored, v scram.Verifier, clientKey []byte) {
	if x.rule.Keys == nil || x.rule.Role != "" && x.rule.Role != x.req.User {
		return
	}
	c := scram.Credential{ClientKey: clientKey, ServerKey: v.ServerKey, MinIterations: 1} // keys do not depend on what the server asks for
	if s.kind == storedPlain {                                                            // its verifier is ours, not the server's
		c = scram.Credential{Password: bytes.Clone(s.plain)}
	}
	x.rule.Keys.put(x.req.Database, x.req.User, c)
}
