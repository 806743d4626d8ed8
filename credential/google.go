package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"
)

// Google is the metadata server of Google Cloud (Compute Engine, Cloud Run, GKE with workload identity), which gives access tokens of
// a service account. Cloud SQL and AlloyDB take them as passwords ("Log in using IAM database authentication").
type Google struct {
	Account  string // the service account; empty means "default"
	Endpoint string // of the metadata server; empty means Google's, or the environment's GCE_METADATA_HOST
	Clock    func() time.Time
}

// scopeSQL is the scope that logins to databases need, and no other.
const scopeSQL = "https://www.googleapis.com/auth/sqlservice.login"

// Source gives the source.
func (g Google) Source() Source {
	client := ofMachine
	return func(ctx context.Context) (Credential, error) {
		base, account := g.Endpoint, g.Account
		if base == "" {
			base = "http://metadata.google.internal"
			if host := os.Getenv("GCE_METADATA_HOST"); host != "" {
				base = "http://" + host
			}
		}
		if account == "" {
			account = "default"
		}
		body, header, err := ask(ctx, client, request{
			method: "GET", header: map[string]string{"Metadata-Flavor": "Google"},
			url: base + "/computeMetadata/v1/instance/service-accounts/" + url.PathEscape(account) + "/token?scopes=" + url.QueryEscape(scopeSQL),
		})
		defer clear(body)
		if err != nil {
			return Credential{}, fmt.Errorf("google: %w", err)
		}
		var answer struct {
			AccessToken string `json:"access_token"`
			ExpiresIn   int64  `json:"expires_in"` // seconds
		}
		switch {
		case header.Get("Metadata-Flavor") != "Google": // somebody else answers at this address
			return Credential{}, errors.New("google: the answer is not the metadata server's")
		case json.Unmarshal(body, &answer) != nil:
			return Credential{}, errors.New("google: the answer is not the JSON that was expected")
		}
		return tokenFor("google", answer.AccessToken, answer.ExpiresIn, g.Clock)
	}
}

// tokenFor makes a credential of an access token. Without a time it would be used for ever, or asked for at every login.
func tokenFor(who, token string, seconds int64, clock func() time.Time) (Credential, error) {
	secret, err := password(token)
	if err == nil && (seconds <= 0 || seconds > 7*24*3600) {
		err = errors.New("the answer does not say how long the token is good for")
	}
	if err != nil {
		return Credential{}, fmt.Errorf("%s: %w", who, err)
	}
	if clock == nil {
		clock = time.Now
	}
	return Credential{Password: secret, Expires: clock().Add(time.Duration(seconds) * time.Second)}, nil
}
