package auth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/scram"
)

// Source is a server that is asked for what it has stored for a user: an md5 hash or a SCRAM verifier, or nothing. *server.Lookup is
// one.
type Source interface {
	Password(ctx context.Context, user string) (claimpool.Secret, error)
}

// Asked is a source, and how long its answers are kept.
type Asked struct {
	Source Source
	MaxAge time.Duration
}

const (
	// maxAnswers bounds the answers that are kept: whoever asks for many names must not fill the memory.
	maxAnswers = 10_000
	// maxShapes bounds what is kept of known users for decoys.
	maxShapes = 16
	// freshAnswer is how old an answer may be when a proof fails and we still believe it: so wrong passwords cannot be made into as
	// many queries.
	freshAnswer = time.Second
)

// Lookup finds the passwords of clients at the servers of their databases. Answers are kept for a short time, the good ones as long
// as those that there is no such user: who exists must not show in how long a login takes. It is safe for use by many goroutines.
type Lookup struct {
	sources map[string]Asked
	clock   func() time.Time

	mu      sync.Mutex
	answers map[userOf]*found // under mu
	shapes  []stored          // under mu: of known users, one of each kind, without their secrets
}

// found is what one question has given, once done is closed.
type found struct {
	done   chan struct{}
	at     time.Time
	stored stored
	known  bool
	err    error
	maxAge time.Duration
	ended  bool // the login of the one who asked has come to its end before the answer: nothing is known
}

// NewLookup makes a Lookup. sources are asked by the name of the database that clients ask for.
func NewLookup(sources map[string]Asked, clock func() time.Time) *Lookup {
	if clock == nil {
		clock = time.Now
	}
	return &Lookup{sources: sources, clock: clock, answers: map[userOf]*found{}}
}

// find gives what is stored for a user, or a decoy. failed is to be called when the proof does not match.
func (l *Lookup) find(ctx context.Context, u userOf, seed claimpool.Secret) (s stored, known bool, failed func(), err error) {
	f, err := l.answer(ctx, u)
	if err != nil {
		return stored{}, false, nil, &claimpool.Error{
			Code: claimpool.CodeCannotConnectNow, Message: "could not look up the password", Cause: err,
			Hint: "Try again later.",
		}
	}
	d := l.decoy(u.name, seed) // made for known users, too: it takes time
	failed = func() { l.doubt(u, f) }
	if f.known {
		return f.stored, true, failed, nil
	}
	return d, false, failed, nil
}

// answer gives a fresh enough answer, and asks when there is none. Those who ask for the same user at once share one question, but not
// the end of the login that asks it: then the next of them does.
func (l *Lookup) answer(ctx context.Context, u userOf) (*found, error) {
	source, ok := l.sources[u.database]
	if !ok {
		return &found{}, nil
	}
	for {
		f, ours := l.place(u, source.MaxAge)
		if ours {
			l.ask(ctx, source.Source, u, f)
			return f, f.err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !f.ended {
			return f, f.err
		}
	}
}

// place gives the answer that is there, or awaited, or one of our own to be asked for.
func (l *Lookup) place(u userOf, maxAge time.Duration) (f *found, ours bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f = l.answers[u]; f != nil && !l.stale(f) {
		return f, false
	}
	l.makeRoom()
	f = &found{done: make(chan struct{}), at: l.clock(), maxAge: maxAge}
	l.answers[u] = f
	return f, true
}

// stale reports whether an answer is too old. One that is still awaited is not.
func (l *Lookup) stale(f *found) bool {
	select {
	case <-f.done:
		return f.err != nil || l.clock().Sub(f.at) >= f.maxAge
	default:
		return false
	}
}

// ask asks a source. An error is for those alone who wait now.
func (l *Lookup) ask(ctx context.Context, source Source, u userOf, f *found) {
	defer close(f.done)
	secret, err := source.Password(ctx, u.name)
	defer secret.Clear()
	switch {
	case err != nil:
		f.err = fmt.Errorf("database %q: %w", u.database, err)
	case len(secret) == 0 || len(u.name) > maxRole: // the server would cut the name, and find somebody else
		_, _ = parseStored(decoyVerifier) // the same work as for one who exists
	default:
		f.stored, f.err = parseStored(string(secret))
		if f.err == nil && f.stored.kind == storedPlain {
			f.err = errors.New("the server has neither an md5 hash nor a SCRAM verifier for the user")
		}
		f.known = f.err == nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f.at, f.ended = l.clock(), f.err != nil && ctx.Err() != nil
	if f.known {
		l.learn(f.stored)
	}
	if f.err != nil && l.answers[u] == f {
		delete(l.answers, u)
	}
}

// doubt forgets an answer with which a proof has failed, unless it is quite new: the password may have been changed.
func (l *Lookup) doubt(u userOf, f *found) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.answers[u] == f && l.clock().Sub(f.at) >= freshAnswer {
		delete(l.answers, u)
	}
}

// makeRoom drops any answer when there are too many: looking for an old one would cost more than asking once too often.
func (l *Lookup) makeRoom() {
	if len(l.answers) < maxAnswers {
		return
	}
	for u := range l.answers {
		delete(l.answers, u)
		return
	}
}

// decoyVerifier is read in place of what an unknown user has not.
var decoyVerifier = scram.MockVerifier(nil, "", scram.DefaultIterations).Encode()

// learn keeps the shape of what a known user has.
func (l *Lookup) learn(s stored) {
	shape := stored{kind: s.kind, hash: make(claimpool.Secret, len(s.hash)), scram: scram.Verifier{Iterations: s.scram.Iterations}}
	same := func(t stored) bool { return t.kind == shape.kind && t.scram.Iterations == shape.scram.Iterations }
	if len(l.shapes) < maxShapes && !slices.ContainsFunc(l.shapes, same) {
		l.shapes = append(l.shapes, shape)
	}
}

// decoy gives what an unknown user has: in the image of users that we have met, the same at every try.
func (l *Lookup) decoy(name string, seed claimpool.Secret) stored {
	d := stored{kind: storedSCRAM, scram: scram.Verifier{Iterations: scram.DefaultIterations}}
	pick := scram.MockVerifier(seed, "decoy\x00"+name, 1).Salt
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.shapes) > 0 {
		d = l.shapes[binary.BigEndian.Uint64(pick)%uint64(len(l.shapes))]
	}
	d.decoy = true
	return d
}
