package token

import (
	"crypto"
	"crypto/sha256"
	"sync"
)

// Signatures remembers that a token's signature verifies with a key, so that a client that logs in again with the same token
// costs a hash and no signature. That is a fact about bytes, which no time and no rule changes. Everything else is asked anew each
// time: whether the key is still one of the issuer's, fits the algorithm and is valid now, and all that the claims say.
//
// Only good signatures are remembered, so nobody but an issuer can fill it. It is safe for concurrent use.
type Signatures struct {
	mu    sync.Mutex
	known map[tokenHash]any // the public key that verifies it
	order []tokenHash       // a ring of what is known; what has been there for longest makes room
	next  int
	stats SignatureStats
}

// tokenHash is SHA-256 of a whole token: the token itself is not kept.
type tokenHash [sha256.Size]byte

// SignatureStats counts questions.
type SignatureStats struct {
	Hits, Misses uint64
	Known        int
}

// NewSignatures makes room for up to size tokens, with about 150 bytes for each.
func NewSignatures(size int) *Signatures {
	return &Signatures{known: make(map[tokenHash]any), order: make([]tokenHash, max(size, 1))}
}

// Stats gives the counts so far.
func (s *Signatures) Stats() SignatureStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Known = len(s.known)
	return stats
}

// find gives the candidate of which it is known that it verifies the token.
func (s *Signatures) find(h tokenHash, candidates []Key) (Key, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if public, ok := s.known[h]; ok {
		for _, k := range candidates {
			if samePublic(k.Public, public) {
				s.stats.Hits++
				return k, true
			}
		}
	}
	s.stats.Misses++
	return Key{}, false
}

func (s *Signatures) add(h tokenHash, k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.known[h]; !ok {
		delete(s.known, s.order[s.next])
		s.order[s.next] = h
		s.next = (s.next + 1) % len(s.order)
	}
	s.known[h] = k.Public
}

// samePublic compares what is in the keys, not their names: a new key under an old kid is another key. No secret equals
// anything: an HMAC is as cheap as the hash that would be looked up, and secrets are not kept where nobody needs them.
func samePublic(a, b any) bool {
	public, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(b)
}
