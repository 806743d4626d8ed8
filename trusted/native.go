package trusted

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math"
	"regexp"
	"time"

	"github.com/claimpool/claimpool"
)

// The native dialect: what the claimpool extension and the proxy say to each other. The exact bytes are written down in
// database/extension/PROTOCOL.md.
const (
	nativeVersion     = 1
	nativeChallenge   = 62 // the length of the answer to challenge()
	nativeFlagSession = 1
	nativeFlagReset   = 2

	nativeChallengeGated = 1 // in the flags at the end of the answer

	infoX25519 = "claimpool native x25519 v1\x00"
	infoFile   = "claimpool native file v1\x00"

	// maxNativeClaims is the extension's bound.
	maxNativeClaims = 1 << 20
)

// NativeKey is the proxy's half of what lets it install contexts: a private X25519 key whose public half the server
// lists in claimpool.proxy_keys, or a secret that stands in the server's claimpool.key_file too.
type NativeKey struct {
	ID      string
	private *ecdh.PrivateKey
	secret  claimpool.Secret
}

// Format hides the key from every verb of package fmt: a field that is not exported would print itself.
func (NativeKey) Format(s fmt.State, _ rune) { s.Write([]byte("redacted")) }

var nativeKeyFile = regexp.MustCompile(`\A(x25519|shared):([A-Za-z0-9._-]{1,64}):([A-Za-z0-9_-]{43})\n?\z`)

// ParseNativeKey reads the text of a key file: "x25519" or "shared", colon, name, colon, 32 bytes in base64url.
func ParseNativeKey(file []byte) (*NativeKey, error) {
	m := nativeKeyFile.FindSubmatch(file)
	if m == nil {
		return nil, errors.New("not a key file for the native dialect: want one line x25519:NAME:KEY or shared:NAME:KEY, the key in base64url")
	}
	raw := make([]byte, 32)
	if _, err := base64.RawURLEncoding.Strict().Decode(raw, m[3]); err != nil {
		return nil, errors.New("the key is not base64url") // its text must not get into an error
	}
	k := &NativeKey{ID: string(m[2])}
	if string(m[1]) == "shared" {
		k.secret = raw
		return k, nil
	}
	private, err := ecdh.X25519().NewPrivateKey(raw)
	if err != nil {
		return nil, errors.New("the key is not an X25519 key")
	}
	k.private = private
	return k, nil
}

// Setting is the entry for the server: for claimpool.proxy_keys, where it is no secret; empty for a shared secret.
func (k *NativeKey) Setting() string {
	if k.private == nil {
		return ""
	}
	return k.ID + ":" + base64.RawURLEncoding.EncodeToString(k.private.PublicKey().Bytes())
}

// challenge is what a backend says of itself.
type challenge struct {
	public *ecdh.PublicKey
	salt   []byte // nonce, process id, database, role
	pid    uint32
	gated  bool // the role's gate is on, for the life of the connection
}

func parseChallenge(b []byte) (*challenge, error) {
	if len(b) != nativeChallenge || b[0] != nativeVersion {
		return nil, errors.New("the extension's challenge has another version or length than this program knows")
	}
	public, err := ecdh.X25519().NewPublicKey(b[1:33])
	if err != nil {
		return nil, errors.New("the extension's challenge has no key")
	}
	return &challenge{
		public: public, salt: bytes.Clone(b[33:61]), pid: binary.BigEndian.Uint32(b[49:]),
		gated: b[61]&nativeChallengeGated != 0,
	}, nil
}

// sessionKey derives the key of one server connection (RFC 7748, RFC 5869).
func (k *NativeKey) sessionKey(c *challenge) ([]byte, error) {
	ikm, info := []byte(k.secret), infoFile+k.ID
	if k.private != nil {
		var err error
		if ikm, err = k.private.ECDH(c.public); err != nil { // an all-zero result is refused here
			return nil, errors.New("the extension's challenge has a key that gives no secret")
		}
		info = infoX25519 + string(c.public.Bytes()) + string(k.private.PublicKey().Bytes()) + k.ID
	}
	return hkdf.Key(sha256.New, ikm, c.salt, info, sha256.Size)
}

// nativeSession is the proxy's half of one server connection's secret.
type nativeSession struct {
	switchOID uint32
	asked     bool // challenge() has been called
	gated     bool // the role's gate is on
	kid       string
	mac       hash.Hash
	counter   uint64
	argument  []byte // of the last switch()
}

func (n *nativeSession) begin(k *NativeKey, c *challenge) error {
	key, err := k.sessionKey(c)
	if err != nil {
		return err
	}
	defer clear(key)
	n.kid, n.gated, n.mac = k.ID, c.gated, hmac.New(sha256.New, key)
	return nil
}

// switchTo gives the argument of switch() for an identity, until the next call. following is how many calls of the proxy's own follow in
// the same write.
func (n *nativeSession) switchTo(id *claimpool.Identity, flags byte, following int) ([]byte, error) {
	claims := []byte(id.Claims)
	if id.Claims == nil {
		claims = []byte("{}") // proved without a token: known to the gate, and without a single claim
	}
	if len(claims) < 2 || claims[0] != '{' || len(claims) > maxNativeClaims || bytes.IndexByte(claims, 0) >= 0 {
		return nil, errors.New("switch: the claims are not a JSON object")
	}
	n.counter++
	dst := append(n.argument[:0], nativeVersion, flags, byte(min(following, math.MaxUint8-1)), byte(len(n.kid)))
	dst = append(dst, n.kid...)
	dst = binary.BigEndian.AppendUint64(dst, n.counter)
	dst = binary.BigEndian.AppendUint64(dst, uint64(expiryMillis(id.Expires)))
	key := id.Key()
	dst = append(dst, key[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(claims)))
	dst = append(dst, claims...)
	n.mac.Reset()
	n.mac.Write(dst)
	dst = n.mac.Sum(dst)
	if n.argument = nil; cap(dst) <= maxKeptArgument {
		n.argument = dst
	}
	return dst, nil
}

// maxKeptArgument is how many bytes of memory a server connection keeps for the arguments to come.
const maxKeptArgument = 16 << 10

// expiryMillis is the moment after which the extension reads the context no more. Zero means never.
func expiryMillis(t time.Time) int64 {
	if t.IsZero() {
		return math.MaxInt64
	}
	return t.UnixMilli()
}
