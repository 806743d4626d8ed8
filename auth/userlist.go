package auth

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/scram"
)

// maxUserlist bounds a user list: half a million users. A wrong path to a large file must not fill the memory.
const maxUserlist = 64 << 20

// Userlist is the users that log in with a password, in the format of PgBouncer's userlist.txt (pgbouncer config,
// "Authentication file format"): lines of "user" "password", where the password may be an md5 hash or a SCRAM verifier.
type Userlist struct {
	path  string
	users atomic.Pointer[users]
}

// users is one state of the list; it never changes.
type users struct {
	byName map[string]stored
	order  []stored    // the models for decoys
	stamp  os.FileInfo // of the file that it was read from
}

// storedKind says what the list has for a user.
type storedKind int

const (
	storedPlain storedKind = iota
	storedMD5
	storedSCRAM
)

// stored is what the list has for one user.
type stored struct {
	kind  storedKind
	plain claimpool.Secret // for storedPlain
	hash  claimpool.Secret // for storedMD5: 32 hexadecimal digits
	scram scram.Verifier   // for storedSCRAM
	decoy bool
}

// LoadUserlist reads a user list from a file. A file that everybody may read or write is refused.
func LoadUserlist(path string) (*Userlist, error) {
	l := &Userlist{path: path}
	return l, l.Reload()
}

// ParseUserlist reads a user list.
func ParseUserlist(text []byte) (*Userlist, error) {
	u, err := parseUsers(text)
	if err != nil {
		return nil, err
	}
	l := &Userlist{}
	l.users.Store(u)
	return l, nil
}

// Reload reads the file again. When that fails the users stay as they were.
func (l *Userlist) Reload() error {
	f, err := os.Open(l.path)
	if err != nil {
		return fmt.Errorf("read user list: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&0o006 != 0 {
		err = errors.New("every user of this machine may read or write it; chmod it to 0600")
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, maxUserlist+1))
	}
	if err == nil && len(text) > maxUserlist {
		err = fmt.Errorf("it is longer than %d bytes", maxUserlist)
	}
	var u *users
	if err == nil {
		u, err = parseUsers(text)
	}
	if err != nil {
		return fmt.Errorf("read user list %q: %w", l.path, err)
	}
	u.stamp = info
	l.users.Store(u)
	return nil
}

// Refresh reads the file again when it has changed.
func (l *Userlist) Refresh() (changed bool, err error) {
	was := l.users.Load().stamp
	is, err := os.Stat(l.path)
	if err != nil {
		return false, fmt.Errorf("read user list: %w", err)
	}
	if os.SameFile(was, is) && was.Size() == is.Size() && was.ModTime().Equal(is.ModTime()) && was.Mode() == is.Mode() {
		return false, nil
	}
	return true, l.Reload()
}

// Len is the number of users.
func (l *Userlist) Len() int { return len(l.users.Load().byName) }

// parseUsers reads the lines of a list. No error shows what stands in a line: it may be a password.
func parseUsers(text []byte) (*users, error) {
	u := &users{byName: map[string]stored{}}
	for n := 1; len(text) > 0; n++ {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == ';' {
			continue
		}
		name, s, err := parseUser(string(line))
		if err == nil && u.has(name) {
			err = errors.New("the user stands twice in the list")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		u.byName[name] = s
		u.order = append(u.order, s)
	}
	return u, nil
}

func (u *users) has(name string) bool { _, ok := u.byName[name]; return ok }

// parseUser reads one line; what stands behind the second field is ignored, as in PgBouncer.
func parseUser(line string) (name string, s stored, err error) {
	name, rest, err := quoted(line)
	if err != nil {
		return "", stored{}, err
	}
	if name == "" {
		return "", stored{}, errors.New("the user name is empty")
	}
	secret, _, err := quoted(strings.TrimLeft(rest, " \t"))
	if err != nil {
		return "", stored{}, err
	}
	s, err = parseStored(secret)
	return name, s, err
}

// quoted takes a field in double quotes; two double quotes inside stand for one.
func quoted(s string) (field, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", errors.New("a field must begin with a double quote")
	}
	var b strings.Builder
	for s = s[1:]; ; {
		before, after, ok := strings.Cut(s, `"`)
		if !ok {
			return "", "", errors.New("a field has no double quote at its end")
		}
		b.WriteString(before)
		if !strings.HasPrefix(after, `"`) {
			field, rest = b.String(), after
			break
		}
		b.WriteByte('"')
		s = after[1:]
	}
	if strings.IndexByte(field, 0) >= 0 {
		return "", "", errors.New("a field has a NUL byte")
	}
	return field, rest, nil
}

func parseStored(secret string) (stored, error) {
	switch {
	case secret == "":
		// PgBouncer takes such a line and then lets nobody in; it is more likely an accident.
		return stored{}, errors.New("the password is empty")
	case strings.HasPrefix(secret, scram.Mechanism+"$"):
		v, err := scram.ParseVerifier(secret)
		return stored{kind: storedSCRAM, scram: v}, err
	case isMD5(secret):
		return stored{kind: storedMD5, hash: claimpool.Secret(strings.ToLower(secret[3:]))}, nil
	}
	return stored{kind: storedPlain, plain: claimpool.Secret(secret)}, nil
}

// isMD5 reports whether s is "md5" and 32 hexadecimal digits.
func isMD5(s string) bool {
	digits, ok := strings.CutPrefix(s, "md5")
	return ok && len(digits) == 2*md5.Size && strings.Trim(digits, "0123456789abcdefABCDEF") == ""
}

// find gives what is stored for a user. For an unknown one it gives a decoy: in the image of some known user, always the
// same one, so that neither the method nor the iterations nor the time that it takes tell which users exist.
func (l *Userlist) find(user string, seed claimpool.Secret) (s stored, known bool) {
	u := l.users.Load()
	d := u.decoy(user, seed) // made for known users, too: it takes time
	if s, known = u.byName[user]; known {
		return s, true
	}
	return d, false
}

// decoy gives what an unknown user has.
func (u *users) decoy(user string, seed claimpool.Secret) stored {
	d := stored{kind: storedSCRAM, scram: scram.Verifier{Iterations: scram.DefaultIterations}}
	if len(u.order) > 0 {
		pick := scram.MockVerifier(seed, "decoy\x00"+user, 1).Salt
		d = u.order[binary.BigEndian.Uint64(pick)%uint64(len(u.order))]
	}
	d.decoy = true
	return d
}

// verifier gives what SCRAM needs. A verifier of a decoy, or from a stored md5 hash, never matches.
func (s stored) verifier(user string, seed claimpool.Secret) (scram.Verifier, error) {
	mock := scram.MockVerifier(seed, user, scram.DefaultIterations)
	switch s.kind {
	case storedPlain:
		// The salt is the decoy's: stable, and unknown before somebody asks. A decoy does the work, too.
		v, err := scram.NewVerifier(s.plain, mock.Salt, mock.Iterations)
		if s.decoy {
			return mock, err
		}
		return v, err
	case storedSCRAM:
		if s.decoy {
			mock.Iterations = s.scram.Iterations
			return mock, nil
		}
		return s.scram, nil
	}
	return mock, nil
}

// md5Hex gives md5(password user) in hexadecimal digits.
func (s stored) md5Hex(user string) []byte {
	if s.kind == storedMD5 {
		return bytes.Clone(s.hash)
	}
	sum := md5.Sum(append(bytes.Clone(s.plain), user...))
	return hex.AppendEncode(nil, sum[:])
}
