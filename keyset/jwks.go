package keyset

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/token"
)

// ParseJWKS reads a JWK or a JWK Set (RFC 7517). Keys are read one by one: a key that we do not understand, or that is
// not for signatures, is left out with a reason (RFC 7517, section 5), and the others stay. algs narrows what the keys
// may verify; secrets ("oct") are taken only when it names their algorithms.
//
// The whole document is refused when it holds a private key, or two keys with one kid for the same algorithm.
func ParseJWKS(data []byte, algs []string) (keys []token.Key, skipped []Skip, err error) {
	return parseJWKS(data, algs, nil)
}

// parseJWKS is ParseJWKS with a further condition for each key, or nil.
func parseJWKS(data []byte, algs []string, condition func(*token.Key, *jose.JSONWebKey) error) (keys []token.Key, skipped []Skip, err error) {
	if _, err := wantsSecret(algs); err != nil {
		return nil, nil, err
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal(data, &document); err != nil {
		return nil, nil, fmt.Errorf("read JWK Set: %w", err)
	}
	list := []json.RawMessage{data}
	if set, ok := document["keys"]; ok {
		if err := json.Unmarshal(set, &list); err != nil {
			return nil, nil, fmt.Errorf("read JWK Set: %w", err)
		}
	} else if document["kty"] == nil {
		return nil, nil, errors.New(`it is neither a JWK ("kty") nor a JWK Set ("keys")`)
	}
	if len(list) > maxKeys {
		return nil, nil, fmt.Errorf("it has more than %d keys", maxKeys)
	}
	for _, raw := range list {
		key, err := parseJWK(raw, algs, condition)
		switch {
		case errors.Is(err, errPrivate):
			return nil, nil, err
		case err != nil:
			skipped = append(skipped, Skip{KID: key.ID, Reason: err.Error()})
			continue
		case slices.ContainsFunc(keys, func(k token.Key) bool { return ambiguous(k, key) }):
			return nil, nil, fmt.Errorf("it has two keys with the kid %q", key.ID) // RFC 7517, section 4.5
		}
		keys = append(keys, key)
	}
	return keys, skipped, nil
}

func ambiguous(a, b token.Key) bool {
	return a.ID != "" && a.ID == b.ID &&
		slices.ContainsFunc(a.Algorithms, func(alg string) bool { return slices.Contains(b.Algorithms, alg) })
}

// jwkMembers are the parts of a JWK that go-jose does not judge, by their exact names.
type jwkMembers struct {
	kty, use, alg, kid string
	ops                []string
	private            bool
}

func readMembers(raw []byte) (m jwkMembers, err error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil || all == nil {
		return m, errors.New("the key is not a JSON object")
	}
	for name, to := range map[string]any{"kid": &m.kid, "kty": &m.kty, "use": &m.use, "alg": &m.alg, "key_ops": &m.ops} {
		if value, ok := all[name]; ok && json.Unmarshal(value, to) != nil {
			return m, fmt.Errorf("the key's %q has the wrong type", name)
		}
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "priv"} { // RFC 7518, section 6; RFC 9964
		if _, ok := all[name]; ok {
			m.private = true
		}
	}
	return m, nil
}

func parseJWK(raw []byte, algs []string, condition func(*token.Key, *jose.JSONWebKey) error) (token.Key, error) {
	m, err := readMembers(raw)
	key := token.Key{ID: m.kid}
	switch {
	case m.private: // before all else: it must not hide behind another mistake
		return key, errPrivate
	case err != nil:
		return key, err
	case m.use != "" && m.use != "sig": // RFC 7517, section 4.2
		return key, fmt.Errorf("the key is not for signatures (use %q)", m.use)
	case m.ops != nil && !slices.Contains(m.ops, "verify"): // RFC 7517, section 4.3
		return key, errors.New("the key is not for verification (key_ops)")
	case m.alg != "" && !slices.Contains(token.Algorithms(), m.alg):
		return key, fmt.Errorf("the key's algorithm %q is not supported", m.alg)
	case m.kty == "oct" && !slices.ContainsFunc(algs, isSecret):
		return key, errors.New("the key is a secret, and no algorithm for secrets is given for this file")
	case m.kty != "oct" && slices.ContainsFunc(algs, isSecret):
		return key, errors.New("the key is not a secret, and only algorithms for secrets are given for this file")
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(raw); err != nil {
		return key, fmt.Errorf("the key cannot be read: %w", err)
	}
	if m.alg != "" {
		key.Algorithms = []string{m.alg}
	} else if m.kty == "oct" {
		key.Algorithms = slices.Clone(algs)
	}
	key.Public = jwk.Key
	if secret, ok := jwk.Key.([]byte); ok {
		key.Public = claimpool.Secret(secret)
	}
	if condition != nil {
		if err := condition(&key, &jwk); err != nil {
			return key, err
		}
	}
	return narrow(key, algs)
}

// PublicJWKS returns a JWK Set of public keys; secrets are refused. Keys without a name are named by their thumbprint
// (RFC 7638), so that tokens can tell them apart.
func PublicJWKS(keys []token.Key) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range keys {
		if _, ok := k.Public.(claimpool.Secret); ok {
			return nil, errors.New("a secret has no public half")
		}
		if k.ID == "" {
			var err error
			if k.ID, err = thumbprint(k.Public); err != nil {
				return nil, err
			}
		}
		set.Keys = append(set.Keys, publicJWK(k))
	}
	return json.MarshalIndent(set, "", "  ")
}

func publicJWK(k token.Key) jose.JSONWebKey {
	jwk := jose.JSONWebKey{Key: k.Public, KeyID: k.ID, Use: "sig"}
	if len(k.Algorithms) == 1 || len(k.Algorithms) > 0 && isEd25519(k.Algorithms[0]) {
		jwk.Algorithm = k.Algorithms[0]
	}
	return jwk
}
