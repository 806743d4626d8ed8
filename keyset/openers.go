package keyset

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool/token"
)

// Openers is a token.OpenerSource over files of private keys. It is safe for concurrent use.
type Openers struct {
	specs   []Spec // Algorithms are not used
	current atomic.Pointer[unlocked]
	refresh sync.Mutex // one Refresh at a time
}

// unlocked is what one reading of all files gave; it never changes.
type unlocked struct {
	keys   []token.Opener
	stamps []os.FileInfo
}

// LoadOpeners reads the private keys that open encrypted tokens (PEM or private JWK), one from each file. Nobody else may be able
// to read them.
func LoadOpeners(specs []Spec) (*Openers, error) {
	o := &Openers{specs: slices.Clone(specs)}
	now, err := o.load()
	if err != nil {
		return nil, err
	}
	o.current.Store(now)
	return o, nil
}

// Openers gives the keys (token.OpenerSource).
func (o *Openers) Openers() []token.Opener { return o.current.Load().keys }

func (o *Openers) load() (*unlocked, error) {
	var all unlocked
	for _, spec := range o.specs {
		data, info, err := read(spec.File)
		if err != nil {
			return nil, err
		}
		key, err := parseOpener(data, info, spec.KID)
		if err == nil {
			err = key.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("key file %q: %w", spec.File, err)
		}
		all.keys, all.stamps = append(all.keys, key), append(all.stamps, info)
	}
	return &all, nil
}

func parseOpener(data []byte, info os.FileInfo, kid string) (token.Opener, error) {
	if err := checkMode(info); err != nil {
		return token.Opener{}, err
	}
	text := bytes.TrimSpace(data)
	if len(text) == 0 {
		return token.Opener{}, errors.New("it is empty")
	}
	if text[0] != '{' {
		private, err := privateFromPEM(text)
		return token.Opener{ID: kid, Private: private}, err
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(text); err != nil {
		return token.Opener{}, fmt.Errorf("read JWK: %w", err)
	}
	switch {
	case jwk.Use != "" && jwk.Use != "enc": // RFC 7517, section 4.2
		return token.Opener{}, fmt.Errorf("the key is not for encryption (use %q)", jwk.Use)
	case kid != "" && jwk.KeyID != "" && kid != jwk.KeyID:
		return token.Opener{}, fmt.Errorf("the kid %q is given, but the key says %q", kid, jwk.KeyID)
	case kid == "":
		kid = jwk.KeyID
	}
	return token.Opener{ID: kid, Private: jwk.Key}, nil
}

// Refresh reads the files again when one of them has changed. When something is wrong with the new ones, the old keys stay.
func (o *Openers) Refresh() (changed bool, err error) {
	o.refresh.Lock()
	defer o.refresh.Unlock()
	if !stale(o.specs, o.current.Load().stamps) {
		return false, nil
	}
	now, err := o.load()
	if err != nil {
		return false, err
	}
	o.current.Store(now)
	return true, nil
}
