package proxy

import (
	"slices"
	"sync"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/server"
)

// lent are the tokens that the clients of a pool have logged in with, where their database hands them on: to a server that asks for
// a cleartext password, as it does when PAM is to judge the token once more. Each is kept for as long as a client is connected
// with it. The configured password stays what it is: a server that asks for a proof in another way gets it, and so does one for
// which there is no token.
type lent struct {
	mu    sync.Mutex
	loans []*loan // under mu; the newest last
}

type loan struct {
	key     claimpool.Key
	token   claimpool.Secret
	ends    time.Time // zero means never
	holders int       // clients; a refused token is gone, and its holders are not
}

// maxLentTries is how many tokens one opening tries, should servers refuse them.
const maxLentTries = 3

// take keeps the token of a client that enters the pool.
func (l *lent) take(id *claimpool.Identity) {
	if id.Token == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.loans, func(n *loan) bool { return n.key == id.Key() })
	n := &loan{key: id.Key()}
	if i >= 0 {
		n = l.loans[i]
		n.token.Clear()
		l.loans = slices.Delete(l.loans, i, i+1)
	}
	n.token, n.ends = slices.Clone(id.Token), id.Expires
	n.holders++
	l.loans = append(l.loans, n)
}

// drop is the end of a client.
func (l *lent) drop(id *claimpool.Identity) {
	if id.Token == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.loans, func(n *loan) bool { return n.key == id.Key() })
	if i < 0 {
		return
	}
	n := l.loans[i]
	if n.holders--; n.holders == 0 {
		n.token.Clear()
		l.loans = slices.Delete(l.loans, i, i+1)
	}
}

// newest gives a copy of the token that came last and has not ended; nil when there is none.
func (l *lent) newest(now time.Time) (claimpool.Secret, claimpool.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range slices.Backward(l.loans) {
		if n.token != nil && (n.ends.IsZero() || now.Before(n.ends)) {
			return slices.Clone(n.token), n.key
		}
	}
	return nil, claimpool.Key{}
}

// refused forgets a token that a server does not take.
func (l *lent) refused(key claimpool.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.loans {
		if n.key == key {
			n.token.Clear()
			n.token = nil
		}
	}
}

// open opens a server, with a token where the server asks for a cleartext password.
func (l *lent) open(cfg *server.Config, try func(*server.Config) (*opened, error)) (s *opened, err error) {
	for range maxLentTries {
		var used claimpool.Key
		own := *cfg
		own.Cleartext = func() (token claimpool.Secret) {
			token, used = l.newest(time.Now())
			return token
		}
		s, err = try(&own)
		if err == nil || used == (claimpool.Key{}) || !denied(err) {
			break
		}
		l.refused(used)
	}
	return s, err
}

// denied reports whether a server has not taken what it was given.
func denied(err error) bool {
	code := claimpool.AsError(err).Code
	return code == claimpool.CodeInvalidPassword || code == claimpool.CodeInvalidAuthorization
}
