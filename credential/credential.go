// Package credential gets what the proxy logs in to PostgreSQL with from where such things are kept and changed: HashiCorp Vault, and
// the identity services of AWS, Google and Azure. It keeps them no longer than they are good for. It does not know servers, pools or
// clients.
package credential

import (
	"bytes"
	"context"
	"sync"
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
	clock  func() time.Time

	mu    sync.Mutex // held while the source is asked: the others want the same
	last  Credential
	got   time.Time
	valid bool

	failure  error
	failedAt time.Time
}

// NewCache makes a Cache. A nil clock is time.Now.
func NewCache(s Source, clock func() time.Time) *Cache {
	if clock == nil {
		clock = time.Now
	}
	return &Cache{source: s, clock: clock}
}

// Get gives a credential that is good now; the caller clears its password. When the source fails, the one before is used to its end,
// if that is known.
func (c *Cache) Get(ctx context.Context) (Credential, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	if c.valid && now.Before(c.replaceAt()) {
		return c.copy(), nil
	}
	if c.failure == nil || now.Sub(c.failedAt) >= afterFailure {
		next, err := c.source(ctx)
		c.failure, c.failedAt = err, c.clock()
		if err == nil {
			c.forget()
			c.last, c.got, c.valid = next, now, true
			return c.copy(), nil
		}
	}
	if c.valid && now.Before(c.last.Expires) {
		return c.copy(), nil
	}
	c.forget()
	return Credential{}, c.failure
}

// Forget drops what is kept, because a server has refused it. It reports whether the source may have another one: not when what was
// refused has just come from there.
func (c *Cache) Forget() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.valid && c.clock().Sub(c.got) > time.Second
	c.forget()
	return old
}

func (c *Cache) forget() {
	c.last.Password.Clear()
	c.last, c.valid = Credential{}, false
}

func (c *Cache) copy() Credential {
	own := c.last
	own.Password = bytes.Clone(own.Password)
	return own
}

// replaceAt is when the next credential is due: when a quarter of the life is left, at most maxMargin.
func (c *Cache) replaceAt() time.Time {
	if c.last.Expires.IsZero() {
		return c.got.Add(maxUnknown)
	}
	life := c.last.Expires.Sub(c.got)
	return c.last.Expires.Add(-min(life/4, maxMargin))
}
