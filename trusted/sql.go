package trusted

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
)

// SQLSetting is the setting that carries the claims and their seal in the SQL dialect; claimpool.jwt() in the database verifies
// it. It must be pinned to the empty string in the startup packet: then ALTER ROLE cannot plant one, and RESET ALL wipes it.
const SQLSetting = "claimpool.context"

// The exact bytes of a seal are written down in database/sql/README.md; database/contract_test.go checks both sides.
const (
	// SQLGreeting is asked once, right after login: what a seal on this connection must name.
	SQLGreeting = "SELECT claimpool.greeting()"

	sqlVersion = "v1"
	sqlDomain  = "claimpool-sql-v1|" // whatever else is ever signed with the key cannot be taken for a seal
)

// Bounds of a seal. maxWindow limits how long a copied seal works on the server connection that it was made for; the
// database knows the same bound.
const (
	maxWindow   = time.Hour
	maxGreeting = 256 // a greeting comes from the server: its length is not ours
)

// SQLKey is the key that a database and its proxies share.
type SQLKey struct {
	ID     string
	secret claimpool.Secret
}

// Format hides the key from every verb of package fmt.
func (SQLKey) Format(s fmt.State, _ rune) { s.Write([]byte("redacted")) }

var sqlKeyFile = regexp.MustCompile(`\A([A-Za-z0-9_-]{1,32}):([0-9a-f]{64})\n?\z`)

// ParseSQLKey reads the text of a key file: name, colon, 64 hexadecimal digits.
func ParseSQLKey(file []byte) (*SQLKey, error) {
	m := sqlKeyFile.FindSubmatch(file)
	if m == nil {
		return nil, errors.New("not a key file of claimpool db install: want one line NAME:KEY with 64 hexadecimal digits")
	}
	secret := make(claimpool.Secret, hex.DecodedLen(len(m[2])))
	if _, err := hex.Decode(secret, m[2]); err != nil {
		return nil, errors.New("the key is not hexadecimal") // cannot happen behind the pattern; its text must not get out
	}
	return &SQLKey{ID: string(m[1]), secret: secret}, nil
}

// SQLSession is what a server connection said of itself in its greeting.
type SQLSession struct {
	Binding string    // names this backend in this run of the server; a part of every seal
	Clock   time.Time // the server's clock at the greeting
}

// ParseSQLGreeting reads the answer to SQLGreeting: "v1|BINDING|CLOCK", the clock in milliseconds since 1970.
func ParseSQLGreeting(text string) (SQLSession, error) {
	if len(text) > maxGreeting {
		return SQLSession{}, errors.New("the greeting of the database is too long")
	}
	parts := strings.Split(text, "|")
	if len(parts) != 3 || parts[1] == "" {
		return SQLSession{}, errors.New("the greeting of the database has not three parts")
	}
	if parts[0] != sqlVersion {
		return SQLSession{}, fmt.Errorf("the database speaks version %q of the seal, this program %q", parts[0], sqlVersion)
	}
	ms, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return SQLSession{}, fmt.Errorf("read the clock in the greeting of the database: %w", err)
	}
	return SQLSession{Binding: parts[1], Clock: time.UnixMilli(ms)}, nil
}

// SQLSealer seals claims with one key, without allocating. It may be used by one goroutine at a time.
type SQLSealer struct {
	kid  string
	mac  hash.Hash
	sum  [sha256.Size]byte
	head []byte // scratch: what is signed in front of the seal
}

// Sealer makes a sealer of the key.
func (k *SQLKey) Sealer() *SQLSealer {
	return &SQLSealer{kid: k.ID, mac: hmac.New(sha256.New, k.secret)}
}

// Format hides the key inside.
func (*SQLSealer) Format(s fmt.State, _ rune) { s.Write([]byte("redacted")) }

// AppendSeal appends the value of SQLSetting that gives claims to the server connection named by binding. Transactions that
// begin from one second before iat until window after it may read them. iat is a time of the server's clock.
func (s *SQLSealer) AppendSeal(dst []byte, binding string, iat time.Time, window time.Duration, claims claimpool.Claims) ([]byte, error) {
	switch {
	case binding == "" || strings.Contains(binding, "|"):
		return dst, errors.New("seal: the server connection has not greeted")
	case window < time.Millisecond || window > maxWindow:
		return dst, fmt.Errorf("seal: the window %v is not between 1ms and %v", window, maxWindow)
	case len(claims) == 0 || claims[0] != '{' || bytes.IndexByte(claims, 0) >= 0:
		return dst, errors.New("seal: the claims are not a JSON object")
	}
	start := len(dst)
	dst = append(dst, macPlace...)
	sealed := len(dst)
	dst = append(append(dst, '.'), s.kid...)
	dst = strconv.AppendInt(append(dst, '.'), iat.UnixMilli(), 10)
	dst = strconv.AppendInt(append(dst, '.'), window.Milliseconds(), 10)
	dst = append(append(dst, '.'), claims...)

	s.head = append(append(append(s.head[:0], sqlDomain...), binding...), '|')
	s.mac.Reset()
	s.mac.Write(s.head)
	s.mac.Write(dst[sealed:])
	hex.Encode(dst[start:sealed], s.mac.Sum(s.sum[:0]))
	return dst, nil
}

// macPlace is as long as a MAC in hexadecimal digits.
const macPlace = "0000000000000000000000000000000000000000000000000000000000000000"
