// Package revocation knows who has been signed out before the end of their tokens: a set in memory, which is asked at each
// login, and the table that several proxies share. It does not know tokens, clients, or how a session ends.
//
// The set only grows, until an entry is older than every token that it could be about, or an administrator takes his own back, by
// one more row: neither a forged notification nor a table that has lost its rows signs anybody in again.
package revocation

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claimpool/claimpool"
)

// Entry is one revocation.
type Entry struct {
	ID      int64 // in the table; 0 before it is there
	Kind    claimpool.MarkKind
	Mark    claimpool.Mark
	Issuer  string
	Subject string    // for people, where it is known
	Before  time.Time // of a subject or issuer: what was issued up to then is revoked, later tokens are not
	Made    time.Time
	By      string // the role that wrote it
	Reason  string

	ByIssuer bool  // a logout at the issuer: it cannot be taken back
	Undoes   int64 // of KindUndo: the ID of the revocation that is taken back
	UndoneBy int64 // the ID of the entry that has taken it back; 0: it is in force. Table.List says that
}

// KindUndo is an entry that takes another back.
const KindUndo claimpool.MarkKind = "undo"

// ErrStale says that nobody knows who has been signed out of late.
var ErrStale = errors.New("the revocations could not be read for too long")

// Set is the revocations in memory. It is safe for use by many goroutines; New makes one.
type Set struct {
	opts       Options
	generation atomic.Uint64
	read       atomic.Int64 // when all revocations up to then were known to be here, in nanoseconds since 1970; 0: never

	mu      sync.RWMutex
	entries map[claimpool.Mark][]entry // guarded by mu; no list is empty
}

// Options are what a set needs.
type Options struct {
	// Keep is the longest life of a token: entries that are older are forgotten.
	Keep time.Duration

	// StaleAfter is how old the knowledge of the table may be. With Lax the last knowledge is used even then.
	StaleAfter time.Duration
	Lax        bool

	Clock func() time.Time // nil means time.Now
}

// margin is added to Keep: two clocks that differ by the most that issuers' settings allow, five minutes each way.
const margin = 10 * time.Minute

type entry struct {
	id     int64     // in the table; 0 is for all that cannot be taken back
	before time.Time // zero: whenever it was issued
	until  time.Time
}

// New makes an empty set, which is stale until it has been read.
func New(opts Options) *Set {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	return &Set{opts: opts, entries: map[claimpool.Mark][]entry{}}
}

// Generation changes with each revocation that is new here. Who has seen a generation need not ask again before the next.
func (s *Set) Generation() uint64 { return s.generation.Load() }

// Revoked reports whether a proof must not be used any more. A token that does not say when it was issued counts as old. The
// error is ErrStale.
func (s *Set) Revoked(p *claimpool.Proof) (bool, error) {
	now := s.opts.Clock()
	if s.SignedOut(p, now) {
		return true, nil
	}
	if !s.opts.Lax && now.Sub(time.Unix(0, s.read.Load())) > s.opts.StaleAfter {
		return false, ErrStale
	}
	return false, nil
}

// SignedOut is Revoked for a client that is in since login: what is not known does not end it.
func (s *Set) SignedOut(p *claimpool.Proof, login time.Time) bool {
	issued := p.Issued
	if p.Login {
		issued = login
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.entries) == 0 {
		return false
	}
	for i, m := range p.Marks {
		if i == len(p.Marks)-int(p.Logins) {
			issued = login
		}
		for _, e := range s.entries[m] {
			if e.before.IsZero() || issued.IsZero() || !issued.After(e.before) {
				return true
			}
		}
	}
	return false
}

// Add takes revocations in, and what takes them back, and reports whether somebody new is signed out by them. asOf is a moment up
// to which all are known now; zero when that is not so.
func (s *Set) Add(list []Entry, asOf time.Time) (changed bool) {
	now := s.opts.Clock()
	undone := map[int64]bool{}
	s.mu.Lock()
	for i := range list {
		if e := &list[i]; e.Kind == KindUndo {
			undone[e.Undoes] = true
			s.undo(e)
		}
	}
	for i := range list {
		e := &list[i]
		next := entry{before: e.Before, until: s.until(e)}
		if timeless(e.Kind) {
			next.before = time.Time{}
		}
		if !e.ByIssuer {
			next.id = e.ID
		}
		if known(e.Kind) && next.until.After(now) && (next.id == 0 || !undone[next.id]) && s.put(e.Mark, next) {
			changed = true
		}
	}
	s.mu.Unlock()
	if changed {
		s.generation.Add(1)
	}
	if !asOf.IsZero() {
		s.read.Store(asOf.UnixNano())
	}
	return changed
}

// put adds an entry to those of a mark, and reports whether it reaches further than they do. The caller holds mu.
func (s *Set) put(m claimpool.Mark, next entry) (further bool) {
	list := s.entries[m]
	further = !slices.ContainsFunc(list, func(e entry) bool { return e.before.IsZero() || !next.before.After(e.before) })
	i := slices.IndexFunc(list, func(e entry) bool { return e.id == next.id })
	if i < 0 {
		s.entries[m] = append(list, next)
		return further
	}
	if next.before.After(list[i].before) { // another table may have the same numbers
		list[i].before = next.before
	}
	if next.until.After(list[i].until) {
		list[i].until = next.until
	}
	return further
}

// undo takes back one entry, and no other of the same mark. The caller holds mu.
func (s *Set) undo(u *Entry) {
	s.drop(u.Mark, func(e entry) bool { return e.id != 0 && e.id == u.Undoes })
}

// drop takes entries of a mark away. The caller holds mu.
func (s *Set) drop(m claimpool.Mark, which func(entry) bool) {
	if list := slices.DeleteFunc(s.entries[m], which); len(list) > 0 {
		s.entries[m] = list
	} else {
		delete(s.entries, m)
	}
}

// until is when no token is left that the entry could be about.
func (s *Set) until(e *Entry) time.Time {
	last := e.Made
	if e.Before.After(last) {
		last = e.Before
	}
	return last.Add(s.opts.Keep + margin)
}

// Forget drops the entries whose time is over.
func (s *Set) Forget() {
	now := s.opts.Clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.entries {
		s.drop(m, func(e entry) bool { return !e.until.After(now) })
	}
}

// Len is the number of those who are revoked: tokens, sessions, people, issuers.
func (s *Set) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.entries)
}

// Read is a moment up to which all revocations were known to be here; zero: the table has not been read yet.
func (s *Set) Read() time.Time {
	if at := s.read.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// timeless reports whether a kind is revoked whenever it was issued: what it names is one token or session, and over.
func timeless(k claimpool.MarkKind) bool {
	return k == claimpool.MarkToken || k == claimpool.MarkSession
}

func known(k claimpool.MarkKind) bool {
	switch k {
	case claimpool.MarkToken, claimpool.MarkSession, claimpool.MarkSubject, claimpool.MarkSessionless, claimpool.MarkIssuer:
		return true
	}
	return false
}
