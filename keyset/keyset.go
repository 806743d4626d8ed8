// Package keyset finds the keys that verify tokens: PEM and certificate files, JWK and JWKS files, secret files, and key sets
// that an issuer publishes at a URL, also by OpenID Connect discovery. It reads the files again when they change, and fetches the
// key sets again and again. It does not know what a token claims.
package keyset

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/claimpool/claimpool/token"
)

// Spec names one file of keys.
type Spec struct {
	File string

	// Text is the content itself, when there is no file: it never changes, and holds no secret.
	Text []byte

	// Algorithms narrows what the keys of this file may verify. Empty means each key's own: from its JWK "alg", else
	// from its type. HS256, HS384 and HS512 must be named here, and then nothing else: a file is read as a secret only
	// when they are, so that a public key, which everybody knows, is never taken for one (CVE-2016-10555).
	Algorithms []string

	// KID is for files that cannot say it themselves (PEM, certificates, secrets). A key without one is tried for
	// every token.
	KID string
}

// Skip is a key that was left out, and why.
type Skip struct {
	File, KID, Reason string
}

// Files is a token.KeySource over files. It is safe for concurrent use.
type Files struct {
	specs   []Spec
	current atomic.Pointer[loaded]
	refresh sync.Mutex // one Refresh at a time
}

// loaded is what one reading of all files gave; it never changes.
type loaded struct {
	keys    []token.Key
	skipped []Skip
	stamps  []os.FileInfo // of the specs, in their order
}

// Load reads all files. A file that cannot be used is an error; a key that cannot be used is left out, see Skipped.
func Load(specs []Spec) (*Files, error) {
	if len(specs) == 0 {
		return nil, errors.New("no key files are given")
	}
	f := &Files{specs: slices.Clone(specs)}
	now, err := f.load()
	if err != nil {
		return nil, err
	}
	f.current.Store(now)
	return f, nil
}

func (f *Files) load() (*loaded, error) {
	var all loaded
	for _, spec := range f.specs {
		data, info, err := spec.read()
		if err != nil {
			return nil, err
		}
		keys, skipped, err := parse(spec, data, info)
		if err != nil {
			return nil, fmt.Errorf("key file %q: %w", spec.File, err)
		}
		if len(keys) == 0 {
			return nil, fmt.Errorf("key file %q has no key that can be used%s", spec.File, reasons(skipped))
		}
		for i := range skipped {
			skipped[i].File = spec.File
		}
		all.keys = append(all.keys, keys...)
		all.skipped = append(all.skipped, skipped...)
		all.stamps = append(all.stamps, info)
	}
	return &all, nil
}

func reasons(skipped []Skip) string {
	var list []string
	for _, s := range skipped {
		list = append(list, s.Reason)
	}
	if list == nil {
		return ""
	}
	return ": " + strings.Join(list, "; ")
}

// maxFile bounds what is read of a key file: nobody has a megabyte of keys, but a path may be wrong.
const maxFile = 1 << 20

// read gives the content, and what tells whether the file has changed; nil when there is none.
func (s *Spec) read() ([]byte, os.FileInfo, error) {
	switch secret, err := wantsSecret(s.Algorithms); {
	case s.Text == nil:
		return read(s.File)
	case err != nil:
		return nil, nil, err
	case secret:
		return nil, nil, errors.New("a secret must be in a file of its own")
	}
	return s.Text, nil, nil
}

func read(name string) ([]byte, os.FileInfo, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("read key file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("read key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("key file %q is not a file", name)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read key file: %w", err)
	}
	if len(data) > maxFile {
		return nil, nil, fmt.Errorf("key file %q is larger than %d bytes", name, maxFile)
	}
	return data, info, nil
}

// Keys returns the keys with the given ID and those without an ID; all keys when kid is empty (token.KeySource).
func (f *Files) Keys(kid string) ([]token.Key, error) {
	return token.Keys(f.current.Load().keys).Keys(kid)
}

// All returns every key, in the order of the files.
func (f *Files) All() []token.Key { return slices.Clone(f.current.Load().keys) }

// Skipped lists the keys that were left out when the files were last read, and why.
func (f *Files) Skipped() []Skip { return slices.Clone(f.current.Load().skipped) }
