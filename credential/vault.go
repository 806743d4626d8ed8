package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/claimpool/claimpool/fetch"
)

// Vault is a secret in HashiCorp Vault (or OpenBao) and the way to it: of the key-value engine, version 1 or 2, or of the database
// engine (creds or static-creds).
type Vault struct {
	Address   string // https://vault.example.com:8200
	Path      string // without /v1/: "secret/data/shop", "database/creds/shop"
	Field     string // that holds the password
	UserField string // that holds the user name; empty: the role is configured
	Namespace string
	TokenFile string  // read for each request: an agent renews it
	TokenEnv  string  // in place of TokenFile
	AppRole   AppRole // in place of both
	CAFile    string
	Clock     func() time.Time
}

// vaultAnswer is the part of Vault's answer that counts (Vault HTTP API, "Read Secret").
type vaultAnswer struct {
	LeaseDuration int64                      `json:"lease_duration"` // seconds
	LeaseID       string                     `json:"lease_id"`
	Data          map[string]json.RawMessage `json:"data"`
}

// Source checks the configuration and gives the source.
func (v Vault) Source() (Source, error) {
	u, err := url.Parse(strings.TrimSuffix(v.Address, "/"))
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, errors.New("vault: the address must be as in https://vault.example.com:8200")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, errors.New("vault: the address must begin with https://; http is for loopback addresses")
	}
	roots, err := loadRoots(v.CAFile)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	now := v.Clock
	if now == nil {
		now = time.Now
	}
	o := fetch.Options{Roots: roots}
	r := &vaultReader{Vault: v, address: u.JoinPath("v1", strings.Trim(v.Path, "/")).String(), options: o, clock: now}
	if v.AppRole.RoleID != "" {
		r.login = newVaultLogin(&v, u, o, now)
	}
	return func(ctx context.Context) (Credential, error) {
		c, err := r.read(ctx)
		if err != nil {
			return Credential{}, fmt.Errorf("vault: %w", err)
		}
		return c, nil
	}, nil
}

// vaultReader reads one secret.
type vaultReader struct {
	Vault
	address string // of the secret
	options fetch.Options
	clock   func() time.Time
	login   *vaultLogin // nil: somebody else has
}

// read asks for the secret, with a new token where the kept one is not taken any more.
func (r *vaultReader) read(ctx context.Context) (Credential, error) {
	for again := false; ; again = true {
		token, fresh, err := r.token(ctx, again)
		if err != nil {
			return Credential{}, err
		}
		header := vaultHeader(r.Namespace)
		header["X-Vault-Token"] = token.text
		var answer vaultAnswer
		err = askJSON(ctx, r.options, request{method: "GET", url: r.address, header: header}, &answer)
		var refused *statusError
		if errors.As(err, &refused) && refused.code == http.StatusForbidden && !fresh && !again && r.login != nil {
			continue
		}
		if err != nil {
			return Credential{}, err
		}
		c, err := r.credential(answer)
		if err != nil {
			return Credential{}, fmt.Errorf("%s: %w", r.Path, err)
		}
		// A lease ends with the token that it was given to.
		if answer.LeaseID != "" && !token.end.IsZero() && token.end.Before(c.Expires) {
			c.Expires = token.end
		}
		return c, nil
	}
}

func (r *vaultReader) token(ctx context.Context, fresh bool) (t vaultToken, isNew bool, err error) {
	if r.login != nil {
		return r.login.token(ctx, fresh)
	}
	t.text, err = r.given()
	return t, true, err
}

// given is the token that somebody else has got.
func (v Vault) given() (string, error) {
	if v.TokenFile != "" {
		return readToken(v.TokenFile, false)
	}
	token := strings.TrimSpace(os.Getenv(v.TokenEnv))
	if token == "" {
		return "", fmt.Errorf("the environment variable %q holds no token", v.TokenEnv)
	}
	return token, nil
}

// credential finds the password in an answer.
func (r *vaultReader) credential(answer vaultAnswer) (Credential, error) {
	data := answer.Data
	if data["data"] != nil && data["metadata"] != nil { // version 2 of the key-value engine
		data = nil
		if json.Unmarshal(answer.Data["data"], &data) != nil {
			return Credential{}, errors.New("the answer is not the JSON that was expected")
		}
	}
	text, err := textField(data, r.Field)
	if err != nil {
		return Credential{}, err
	}
	var c Credential
	if c.Password, err = password(text); err != nil {
		return Credential{}, err
	}
	if r.UserField != "" {
		if c.User, err = textField(data, r.UserField); err != nil {
			return Credential{}, err
		}
	}
	var ttl int64 // until the rotation of a static role
	if data["ttl"] != nil && data["last_vault_rotation"] != nil {
		_ = json.Unmarshal(data["ttl"], &ttl) // what is no number is not known
	}
	switch {
	case answer.LeaseID != "" && answer.LeaseDuration > 0: // without an id it is only advice (key-value, version 1)
		c.Expires = r.clock().Add(time.Duration(answer.LeaseDuration) * time.Second)
	case ttl > 0:
		c.Expires = r.clock().Add(time.Duration(ttl) * time.Second)
	}
	return c, nil
}

func textField(data map[string]json.RawMessage, name string) (string, error) {
	var text string
	if data[name] == nil || json.Unmarshal(data[name], &text) != nil || text == "" {
		return "", fmt.Errorf("the secret has no text in the field %q", name)
	}
	return text, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
