package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/token"
)

type signCommand struct {
	Key    string        `required:"" placeholder:"FILE" help:"The private key: PEM, JWK, or a secret (then --alg is needed)."`
	Alg    string        `help:"The algorithm. Default: what fits the key."`
	KID    string        `name:"kid" help:"The key's name in the token's header. Default: what the key file says, else its thumbprint."`
	Issuer string        `name:"iss" help:"The claim iss."`
	Sub    string        `help:"The claim sub."`
	Aud    []string      `sep:"none" placeholder:"AUD" help:"The claim aud; may be repeated."`
	TTL    time.Duration `name:"ttl" default:"1h" help:"How long it is valid: sets exp. A negative time makes an expired token. Default: 1h."`
	Claim  []string      `sep:"none" placeholder:"NAME=VALUE" help:"A further claim; may be repeated. The value is JSON, else text."`
	Claims string        `placeholder:"FILE" help:"A JSON object of claims to begin with; - for standard input."`
}

// Run prints a signed token.
func (c *signCommand) Run(env *environment) error {
	claims, err := c.claims(env)
	if err != nil {
		return err
	}
	signer, err := keyset.LoadSigner(c.Key, c.Alg, c.KID)
	if err != nil {
		return err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return err
	}
	fmt.Fprintln(env.out, string(signed))
	return nil
}

// claims puts the payload together: the file, then single claims, then what has a flag of its own.
func (c *signCommand) claims(env *environment) ([]byte, error) {
	claims := map[string]json.RawMessage{}
	if c.Claims != "" {
		text, err := readInput(env, c.Claims)
		if err != nil {
			return nil, err
		}
		text, err = token.CheckClaims(text) // or else what is repeated in the file would silently be lost
		if err == nil {
			err = json.Unmarshal(text, &claims)
		}
		if err != nil {
			return nil, usage("the claims in %s: %w", c.Claims, err)
		}
	}
	for _, claim := range c.Claim {
		name, value, ok := strings.Cut(claim, "=")
		if !ok || name == "" {
			return nil, usage("--claim %s: write NAME=VALUE, as in tenant=7", claim)
		}
		claims[name] = json.RawMessage(value)
		if !json.Valid([]byte(value)) {
			claims[name] = quoted(value)
		}
	}
	for name, value := range map[string]string{"iss": c.Issuer, "sub": c.Sub} {
		if value != "" {
			claims[name] = quoted(value)
		}
	}
	if len(c.Aud) == 1 {
		claims["aud"] = quoted(c.Aud[0])
	} else if len(c.Aud) > 1 {
		claims["aud"] = quoted(c.Aud)
	}
	now := env.now()
	for name, at := range map[string]time.Time{"iat": now, "exp": now.Add(c.TTL)} {
		if _, given := claims[name]; !given {
			claims[name] = fmt.Append(nil, at.Unix())
		}
	}
	payload, err := token.CheckClaims(quoted(claims))
	if err != nil {
		return nil, statusError{err, statusUsage}
	}
	return payload, nil
}

// quoted writes a value as JSON, leaving < and > as they are.
func quoted(value any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		panic(err) // cannot happen: texts, and JSON that has been checked
	}
	return slices.Clone(bytes.TrimSpace(b.Bytes()))
}

// maxInput is far more than any token or claims; it keeps a wrong file out of memory.
const maxInput = 1 << 20

// readInput reads a file, or standard input for "-".
func readInput(env *environment, path string) ([]byte, error) {
	in := env.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, maxInput))
}
