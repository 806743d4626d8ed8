package loop

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strings"
	"testing"
)

// TestAttackKeyUpdates: the attacker speaks TLS 1.3, asks for new keys without end, and takes none of the answers.
//
// Must: It is disconnected, and little is kept for it.
// Dialects: none
func TestAttackKeyUpdates(t *testing.T) {
	l := start(t)
	near, far := sockets(t, "unix")
	server, client := configs()()
	var log bytes.Buffer
	client.MinVersion, client.KeyLogWriter = tls.VersionTLS13, &log
	carrier := NewCarrier(far)
	secured, done := tls.Server(carrier, server), make(chan error, 1)
	go func() { done <- secured.Handshake() }()
	c := tls.Client(near, client)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, done); err != nil {
		t.Fatal(err)
	}
	fd, err := Detach(far)
	if err != nil {
		t.Fatal(err)
	}
	closed, most := make(chan error, 1), 0
	var conn *Conn
	do(t, l, func() {
		h := &hooks{}
		h.data = func(b []byte) int { most = max(most, conn.Unsent()); return len(b) }
		h.closed = func(err error) { closed <- err }
		conn, err = l.Add(fd, secured, carrier, h, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	k := newTraffic(t, c.ConnectionState().CipherSuite, log.String())
	for range 2000 {
		var b []byte
		for range 16 {
			b = k.update(b)
		}
		if _, err := near.Write(k.record(b, 23, []byte("x"))); err != nil {
			break
		}
	}
	near.Close()
	if err := wait(t, closed); err != errOwed {
		t.Errorf("it was ended by %v", err)
	}
	do(t, l, func() {
		if most > 64<<10 {
			t.Errorf("%d bytes were kept for it", most)
		}
	})
}

// traffic makes records of TLS 1.3 as a client does (RFC 8446, sections 4.6.3, 5.2 and 7).
type traffic struct {
	hash   func() hash.Hash
	size   int // of a key
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func newTraffic(t *testing.T, suite uint16, log string) *traffic {
	t.Helper()
	k := &traffic{hash: sha256.New, size: 16}
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256:
	case tls.TLS_AES_256_GCM_SHA384:
		k.hash, k.size = sha512.New384, 32
	default:
		t.Fatalf("%s is not written down here", tls.CipherSuiteName(suite))
	}
	_, line, _ := strings.Cut(log, "CLIENT_TRAFFIC_SECRET_0 ")
	line, _, _ = strings.Cut(line, "\n")
	_, secret, _ := strings.Cut(line, " ")
	var err error
	if k.secret, err = hex.DecodeString(secret); err != nil || len(k.secret) == 0 {
		t.Fatal("no secret", err)
	}
	k.key()
	return k
}

func (k *traffic) expand(label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 "+label)))
	b, err := hkdf.Expand(k.hash, k.secret, string(info)+"tls13 "+label+"\x00", n)
	if err != nil {
		panic(err)
	}
	return b
}

func (k *traffic) key() {
	block, err := aes.NewCipher(k.expand("key", k.size))
	if err != nil {
		panic(err)
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
	k.iv, k.seq = k.expand("iv", 12), 0
}

func (k *traffic) record(dst []byte, typ byte, content []byte) []byte {
	inner := append(bytes.Clone(content), typ)
	header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(inner)+k.aead.Overhead()))
	nonce := bytes.Clone(k.iv)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^k.seq)
	k.seq++
	return k.aead.Seal(append(dst, header...), nonce, inner, header)
}

// update asks the other side for new keys, too.
func (k *traffic) update(dst []byte) []byte {
	dst = k.record(dst, 22, []byte{24, 0, 0, 1, 1})
	k.secret = k.expand("traffic upd", k.hash().Size())
	k.key()
	return dst
}
