// Package credential gets what the proxy logs in to PostgreSQL with from where such things are kept and changed: HashiCorp Vault, and
// the identity services of AWS, Google and Azure. It keeps them no longer than they are good for. It does not know servers, pools or
// clients.
package credential

import (
	"bytes"
	"context"
	"time"

	"github.com/claimpool/claimpool"
)

// Credential is what a login at a server takes.
type Credential struct {
	User     string // empty: the role that the configuration names
	Password claimpool.Secret
	Expires  time.Time // zero: nobody knows
}

// Source gets a credential from where it is kept. Its errors never hold one.
type Source func(ctx context.Context) (Credential, error)

const (
	// maxUnknown is how long a credential is kept that does not say when it ends: a password in a key-value store.
	maxUnknown = time.Minute
	// maxMargin is how long before its end a credential is replaced, when it lasts for long.
	maxMargin = 5 * time.Minute
	// afterFailure is how long a failure stands for the next questions, too: those who have waited for it must not ask one by one.
	afterFailure = time.Second
)

// Cache keeps the last credential of a source until shortly before its end. It is safe for use by many goroutines.
type Cache struct {
	source Source
	terms  terms[Credential]
	memory memory[Credential]
}

// NewCache makes a Cache. A nil clock is time.Now.
func NewCache(s Source, clock func() time.Time) *Cache {
	if clock == nil {
		clock = time.Now
	}
	return &Cache{source: s, terms: terms[Credential]{
		clock: clock, replaceAt: replaceAt, expires: func(c Credential) time.Time { return c.Expires },
		clone: func(c Credential) Credential { c.Password = bytes.Clone(c.Password); return c },
		drop:  func(c Credential) { c.Password.Clear() },
	}}
}

// Get gives a credential that is good now; the caller clears its password. When the source fails, or takes its time, the one before is
// used to its end, if that is known.
func (c *Cache) Get(ctx context.Context) (Credential, error) {
	return c.memory.get(ctx, &c.terms, c.source)
}

// Forget drops what is kept, because a server has refused it. It reports whether the source may have another one: not when what was
// refused has just come from there.
func (c *Cache) Forget() bool {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	old := c.memory.valid && c.terms.clock().Sub(c.memory.got) > time.Second
	c.memory.forget(&c.terms)
	return old
}

// replaceAt is when the next credential is due: when a quarter of the life is left, at most maxMargin.
func replaceAt(c Credential, got time.Time) time.Time {
	if c.Expires.IsZero() {
		return got.Add(maxUnknown)
	}
	return c.Expires.Add(-min(c.Expires.Sub(got)/4, maxMargin))
}
