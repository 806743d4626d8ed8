package token

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxToken is PostgreSQL's own limit for a password message (libpq/auth.c, PG_MAX_AUTH_TOKEN_LENGTH). Everything
	// below is bounded by it: it is checked before a single byte is looked at (CVE-2025-30204: a million dots).
	maxToken = 65535

	// maxHeader leaves room for a certificate chain that we ignore, and no room for a library to chew on more.
	maxHeader = 16 << 10

	// maxKeyID bounds what a stranger can make us compare and log.
	maxKeyID = 256
)

// strict is base64url as RFC 7515, section 2 wants it: no padding, no line breaks, and no bits left over, so that there
// is one way only to write a token. (Decode ignores \r and \n even so; decodePart refuses them.)
var strict = base64.RawURLEncoding.Strict()

// parsed is a token taken apart and not verified: nothing in it may be believed.
type parsed struct {
	raw       []byte
	signed    []byte // header "." payload, as they stand in raw
	header    []byte // compact JSON; nil when it is broken
	claims    []byte // compact JSON; nil when it is broken
	payload   []byte // decoded, as it stands
	signature []byte

	alg, kid, typ string

	waiting func() (over func()) // see Set.VerifyWaiting; nil: nobody wants to know
}

// parse takes a token apart and returns all that is wrong with its form. The token may be verified only when nothing is.
func parse(raw []byte) (p *parsed, wrong []*Refusal) {
	p, wrong = parseCompact(raw)
	if p.payload == nil {
		return p, wrong
	}
	claims, r := scanObject("payload", p.payload)
	if r == nil {
		p.claims = claims
		r = ambiguous("payload", claims, "iss", "sub", "aud", "exp", "nbf", "iat", "jti")
	}
	if r != nil {
		wrong = append(wrong, r)
	}
	return p, wrong
}

// parseCompact is parse for any payload (RFC 7515, section 7.1): BASE64URL(header) "." BASE64URL(payload) "." BASE64URL(signature).
func parseCompact(raw []byte) (p *parsed, wrong []*Refusal) {
	p = &parsed{raw: raw}
	if len(raw) > maxToken {
		return p, []*Refusal{{Reason: TooLarge, Text: fmt.Sprintf("the token is longer than %d bytes", maxToken)}}
	}
	switch dots := bytes.Count(raw, []byte(".")); {
	case dots == 4:
		return p, []*Refusal{{Reason: Encrypted, Text: "the token is encrypted (five parts, JWE) where a signed one is expected"}}
	case dots != 2:
		return p, []*Refusal{{Reason: Malformed,
			Text:   "it is not a token: three parts with two dots between them are expected",
			Detail: fmt.Sprintf("It has %d dots.", dots)}}
	}
	last := bytes.LastIndexByte(raw, '.')
	first := bytes.IndexByte(raw, '.')
	p.signed = raw[:last]

	header, r := decodePart("header", raw[:first])
	if r != nil {
		wrong = append(wrong, r)
	} else {
		wrong = append(wrong, p.readHeader(header)...)
	}
	if p.payload, r = decodePart("payload", raw[first+1:last]); r != nil {
		wrong = append(wrong, r)
	}
	if p.signature, r = decodePart("signature", raw[last+1:]); r != nil {
		wrong = append(wrong, r)
	} else if len(p.signature) == 0 && p.alg != "" && !isNone(p.alg) {
		wrong = append(wrong, &Refusal{Reason: Malformed, Text: "the token has no signature"})
	}
	return p, wrong
}

func decodePart(what string, part []byte) ([]byte, *Refusal) {
	out := make([]byte, strict.DecodedLen(len(part)))
	n, err := strict.Decode(out, part)
	if err != nil || bytes.ContainsAny(part, "\r\n") {
		return nil, &Refusal{Reason: Malformed,
			Text:   "the " + what + " is not canonical base64url",
			Detail: "Only A-Z a-z 0-9 - _ are allowed: no padding, no spaces, no line breaks, no bits left over at the end."}
	}
	return out[:n], nil
}

// readHeader reads the JOSE header (RFC 7515, section 4) and returns what is wrong with it.
func (p *parsed) readHeader(header []byte) (wrong []*Refusal) {
	if len(header) > maxHeader {
		return []*Refusal{{Reason: TooLarge, Text: fmt.Sprintf("the header is longer than %d bytes", maxHeader)}}
	}
	compact, r := scanObject("header", header)
	if r != nil {
		return []*Refusal{r}
	}
	p.header = compact
	if r := ambiguous("header", compact, "alg", "kid", "typ", "crit", "b64"); r != nil {
		wrong = append(wrong, r)
	}
	for _, f := range []struct {
		name string
		to   *string
	}{{"alg", &p.alg}, {"kid", &p.kid}, {"typ", &p.typ}} {
		value, ok := get(compact, f.name)
		if !ok {
			continue
		}
		if *f.to, ok = text(value); !ok {
			wrong = append(wrong, &Refusal{Reason: Malformed, Text: fmt.Sprintf("the header's %q is not a string", f.name)})
		}
	}
	if len(p.kid) > maxKeyID {
		wrong = append(wrong, &Refusal{Reason: TooLarge, Text: fmt.Sprintf(`the header's "kid" is longer than %d bytes`, maxKeyID)})
	}
	for _, name := range []string{"crit", "b64"} { // RFC 7515, section 4.1.11; RFC 7797
		if _, ok := get(compact, name); ok {
			wrong = append(wrong, &Refusal{Reason: CriticalHeader,
				Text: fmt.Sprintf("the header has %q: it asks for an extension that is not supported", name)})
		}
	}
	if r := p.checkAlgorithm(); r != nil {
		wrong = append(wrong, r)
	}
	return wrong
}

func (p *parsed) checkAlgorithm() *Refusal {
	switch {
	case p.alg == "":
		return &Refusal{Reason: Malformed, Text: `the header has no "alg"`}
	case isNone(p.alg): // RFC 8725, section 3.2
		return &Refusal{Reason: Unsecured, Text: `the token is not signed (its "alg" is "none")`}
	case !slices.Contains(algorithms, p.alg):
		return &Refusal{Reason: UnknownAlgorithm, Text: "the token's algorithm is not supported", Detail: "Its alg is " + quoted(p.alg) + "."}
	}
	return nil
}

func isNone(alg string) bool { return strings.EqualFold(alg, "none") }

// ambiguous refuses a name that equals one of the given names but for its case. RFC 7519, section 10.1.1 tells names
// apart by case; too many JSON readers do not ("Exp" beside "exp"), so we want no such token at all.
func ambiguous(what string, object []byte, names ...string) *Refusal {
	for name := range members(object) {
		for _, n := range names {
			if name != n && strings.EqualFold(name, n) {
				return &Refusal{Reason: Malformed, Text: fmt.Sprintf("the %s has a name that differs from %q only in case", what, n)}
			}
		}
	}
	return nil
}

// CheckClaims reads a payload under the rules for claims and returns it without the white space between its values. The
// error is a *Refusal.
func CheckClaims(payload []byte) ([]byte, error) {
	if len(payload) > maxToken {
		return nil, &Refusal{Reason: TooLarge, Text: fmt.Sprintf("the payload is longer than %d bytes", maxToken)}
	}
	claims, r := scanObject("payload", payload)
	if r != nil {
		return nil, r
	}
	return claims, nil
}
