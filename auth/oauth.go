package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// mechanismOAuth is the SASL mechanism of RFC 7628.
const mechanismOAuth = "OAUTHBEARER"

// OAuth is what a client without a token is told: where to get one, and for what.
type OAuth struct {
	Issuer string // the issuer's URL, or that of its discovery document
	Scope  string
}

// errNoToken is the end of a connection that only asked where to get a token: libpq comes back with one on another.
var errNoToken = errors.New("the client has no token yet, and was told where to get one")

// oauth takes a token by SASL OAUTHBEARER (RFC 7628) as PostgreSQL 18 does: there is no AuthenticationSASLFinal, and whoever
// has no token, or one that does not verify, is told where to get one before it is refused.
func (x *exchange) oauth() (*claimpool.Identity, error) {
	if err := x.send(wire.AppendAuthSASL(nil, mechanismOAuth)); err != nil {
		return nil, err
	}
	_, first, err := x.saslInitial([]string{mechanismOAuth}, maxPassword)
	if err != nil {
		return nil, err
	}
	defer clear(first)
	raw, err := parseBearer(first)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, x.tellIssuer(errNoToken)
	}
	id, err := x.token(raw, claimpool.MethodOAuth)
	var e *claimpool.Error
	if err != nil && !errors.As(err, &e) {
		return nil, x.tellIssuer(err)
	}
	return id, err
}

// tellIssuer sends the error challenge (RFC 7628, section 3.2.2), and takes the client's answer, which is one byte and says
// nothing; clients that leave at once are as good. It gives the reason back.
func (x *exchange) tellIssuer(reason error) error {
	url := x.rule.OAuth.Issuer
	if !strings.Contains(url, "/.well-known/") {
		url = strings.TrimSuffix(url, "/") + "/.well-known/openid-configuration"
	}
	challenge, err := json.Marshal(struct {
		Status string `json:"status"`
		Config string `json:"openid-configuration"`
		Scope  string `json:"scope"`
	}{"invalid_token", url, x.rule.OAuth.Scope})
	if err != nil {
		return err
	}
	if x.send(wire.AppendAuthSASLContinue(nil, challenge)) == nil {
		x.receive(maxSASL)
	}
	return reason
}

// bearer is the value of the key auth (RFC 6750, section 2.1).
var bearer = regexp.MustCompile(`\A(?i:Bearer) +([A-Za-z0-9\-._~+/]+=*)\z`)

// kvpair is key and value (RFC 7628, section 3.1).
var kvpair = regexp.MustCompile(`\A([A-Za-z]+)=([\x21-\x7e \t\r\n]*)\z`)

// parseBearer reads the client's first message. An empty token is a question: where can I get one?
func parseBearer(b []byte) (token []byte, err error) {
	header, rest, ok := bytes.Cut(b, []byte{1})
	if !ok {
		return nil, errMalformedOAuth
	}
	switch flag, authzid, ok := bytes.Cut(header, []byte{','}); {
	case !ok || (string(flag) != "n" && string(flag) != "y") || !bytes.HasSuffix(authzid, []byte{','}):
		return nil, errMalformedOAuth
	case len(authzid) > 1:
		return nil, &claimpool.Error{
			Code: claimpool.CodeFeatureNotSupported, Message: "client uses authorization identity, but it is not supported",
			Hint: "Say who you are with the user name.",
		}
	}
	var auth []byte
	for {
		pair, behind, ok := bytes.Cut(rest, []byte{1})
		if !ok {
			return nil, errMalformedOAuth
		}
		if len(pair) == 0 {
			if len(behind) > 0 || auth == nil {
				return nil, errMalformedOAuth
			}
			break
		}
		m := kvpair.FindSubmatch(pair)
		if m == nil {
			return nil, errMalformedOAuth
		}
		if string(m[1]) == "auth" {
			if auth != nil {
				return nil, errMalformedOAuth
			}
			auth = m[2]
		}
		rest = behind
	}
	if len(auth) == 0 {
		return nil, nil
	}
	m := bearer.FindSubmatch(auth)
	if m == nil {
		return nil, errMalformedOAuth
	}
	return m[1], nil
}

var errMalformedOAuth = &claimpool.Error{
	Code: claimpool.CodeProtocolViolation, Message: "malformed OAUTHBEARER message",
	Hint: "The client's OAuth support has a mistake, or the token holds bytes that no token may hold.",
}
