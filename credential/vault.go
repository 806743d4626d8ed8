package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
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
	TokenFile string // read for each request: an agent renews it
	TokenEnv  string // in place of TokenFile
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
	client := fetch.Options{Roots: roots}
	address := u.JoinPath("v1", strings.Trim(v.Path, "/")).String()
	return func(ctx context.Context) (Credential, error) {
		token, err := v.token()
		if err != nil {
			return Credential{}, fmt.Errorf("vault: %w", err)
		}
		header := map[string]string{"X-Vault-Token": token, "X-Vault-Request": "true"}
		if v.Namespace != "" {
			header["X-Vault-Namespace"] = v.Namespace
		}
		var answer vaultAnswer
		if err := askJSON(ctx, client, request{method: "GET", url: address, header: header}, &answer); err != nil {
			return Credential{}, fmt.Errorf("vault: %w", err)
		}
		c, err := v.credential(answer)
		if err != nil {
			return Credential{}, fmt.Errorf("vault: %s: %w", v.Path, err)
		}
		return c, nil
	}, nil
}

func (v Vault) token() (string, error) {
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
func (v Vault) credential(answer vaultAnswer) (Credential, error) {
	data := answer.Data
	if data["data"] != nil && data["metadata"] != nil { // version 2 of the key-value engine
		data = nil
		if json.Unmarshal(answer.Data["data"], &data) != nil {
			return Credential{}, errors.New("the answer is not the JSON that was expected")
		}
	}
	text, err := textField(data, v.Field)
	if err != nil {
		return Credential{}, err
	}
	var c Credential
	if c.Password, err = password(text); err != nil {
		return Credential{}, err
	}
	if v.UserField != "" {
		if c.User, err = textField(data, v.UserField); err != nil {
			return Credential{}, err
		}
	}
	var ttl int64 // until the rotation of a static role
	if data["ttl"] != nil && data["last_vault_rotation"] != nil {
		_ = json.Unmarshal(data["ttl"], &ttl) // what is no number is not known
	}
	now := time.Now
	if v.Clock != nil {
		now = v.Clock
	}
	switch {
	case answer.LeaseID != "" && answer.LeaseDuration > 0: // without an id it is only advice (key-value, version 1)
		c.Expires = now().Add(time.Duration(answer.LeaseDuration) * time.Second)
	case ttl > 0:
		c.Expires = now().Add(time.Duration(ttl) * time.Second)
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
