package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"sync"

	"github.com/claimpool/claimpool/wire"
)

// keyring gives each client the key with which it may ask for a cancel, and finds the client again. The secret half is a
// MAC over the public half and the client's number under a key that lives as long as the process: nothing is stored for
// it, and the key of a client that has left is worth nothing to the next one with the same public half.
type keyring struct {
	secret [32]byte

	mu   sync.Mutex
	byID map[uint32]*client // guarded by mu
}

func (k *keyring) init(rand io.Reader) error {
	k.byID = map[uint32]*client{}
	_, err := io.ReadFull(rand, k.secret[:])
	return err
}

// secretLen is how long the secret half is: 4 bytes in protocol 3.0; 3.2 allows up to 256, and 32 cannot be guessed.
func secretLen(version uint32) int {
	if version == wire.Version30 {
		return 4
	}
	return 32
}

func (k *keyring) mac(id uint32, number uint64) []byte {
	h := hmac.New(sha256.New, k.secret[:])
	var b [12]byte
	binary.BigEndian.PutUint32(b[:], id)
	binary.BigEndian.PutUint64(b[4:], number)
	h.Write(b[:])
	return h.Sum(nil)
}

// add registers a client under a public half that is free. It is derived from the number, so that neighbours tell
// nothing about each other, and positive as a signed integer, which some drivers take it for.
func (k *keyring) add(c *client) {
	k.mu.Lock()
	defer k.mu.Unlock()
	seed := k.mac(0, c.number)
	id := binary.BigEndian.Uint32(seed) & 0x7fffffff
	for id == 0 || k.byID[id] != nil {
		id = (id + 1) & 0x7fffffff
	}
	c.id = id
	k.byID[id] = c
}

// addAs registers a client under the process id of its server: the one that PostgreSQL knows it by. Where the server of another
// host has the same one it gets one like everybody else.
func (k *keyring) addAs(c *client, pid uint32) {
	k.mu.Lock()
	taken := pid == 0 || k.byID[pid] != nil
	if !taken {
		c.id = pid
		k.byID[pid] = c
	}
	k.mu.Unlock()
	if taken {
		k.add(c)
	}
}

func (k *keyring) remove(c *client) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byID[c.id] == c {
		delete(k.byID, c.id)
	}
}

// key is what BackendKeyData carries for the client.
func (k *keyring) key(c *client) (id uint32, secret []byte) {
	n := 4
	if c.long {
		n = 32
	}
	return c.id, k.mac(c.id, c.number)[:n]
}

// find gives the client whose key it is; nil when there is none.
func (k *keyring) find(id uint32, secret []byte) *client {
	k.mu.Lock()
	c := k.byID[id]
	k.mu.Unlock()
	if c == nil {
		return nil
	}
	if _, want := k.key(c); !hmac.Equal(want, secret) {
		return nil
	}
	return c
}
