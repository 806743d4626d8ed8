package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/claimpool/claimpool/fetch"
)

// AppRole is how a program logs in to Vault by itself (Vault documentation, "AppRole auth method"): with the name of a role, and a secret
// that was put into a file. It keeps the token that it gets.
type AppRole struct {
	RoleID       string
	SecretIDFile string // read for each login: somebody else renews it
	Mount        string // of the auth method; empty means "approle"
}

// vaultToken is a token of Vault, and when it ends; zero when that is not known.
type vaultToken struct {
	text string
	end  time.Time
	next time.Time // when to get the next one
}

// vaultLogin gets tokens for a role. It is safe for concurrent use.
type vaultLogin struct {
	AppRole
	address   string // of the login
	namespace string
	options   fetch.Options
	clock     func() time.Time

	mu   sync.Mutex
	kept vaultToken // under mu
}

// newVaultLogin makes one for a Vault at an address.
func newVaultLogin(v *Vault, u *url.URL, o fetch.Options, clock func() time.Time) *vaultLogin {
	mount := strings.Trim(v.AppRole.Mount, "/")
	if mount == "" {
		mount = "approle"
	}
	return &vaultLogin{AppRole: v.AppRole, address: u.JoinPath("v1", "auth", mount, "login").String(), namespace: v.Namespace, options: o, clock: clock}
}

// token gives the kept token, or a new one shortly before that ends. fresh: Vault has not taken the kept one.
func (l *vaultLogin) token(ctx context.Context, fresh bool) (t vaultToken, isNew bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fresh {
		l.kept = vaultToken{}
	}
	now := l.clock()
	if now.Before(l.kept.next) {
		return l.kept, false, nil
	}
	next, err := l.login(ctx)
	if err != nil {
		if now.Before(l.kept.end) { // to its end
			return l.kept, false, nil
		}
		l.kept = vaultToken{}
		return vaultToken{}, false, err
	}
	l.kept = next // without an end it is not used again
	return next, true, nil
}

func (l *vaultLogin) login(ctx context.Context) (vaultToken, error) {
	secret, err := readToken(l.SecretIDFile, false)
	if err != nil {
		return vaultToken{}, err
	}
	body, err := json.Marshal(map[string]string{"role_id": l.RoleID, "secret_id": secret})
	if err != nil {
		return vaultToken{}, err
	}
	defer clear(body)
	header := vaultHeader(l.namespace)
	header["Content-Type"] = "application/json"
	var answer struct {
		Auth struct {
			Token string `json:"client_token"`
			Lease int64  `json:"lease_duration"` // seconds
		} `json:"auth"`
	}
	if err := askJSON(ctx, l.options, request{method: "POST", url: l.address, header: header, body: string(body)}, &answer); err != nil {
		return vaultToken{}, fmt.Errorf("log in: %w", err)
	}
	t := vaultToken{text: answer.Auth.Token}
	if t.text == "" || strings.ContainsFunc(t.text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return vaultToken{}, errors.New("log in: the answer holds no token")
	}
	if s := answer.Auth.Lease; s > 0 && s < 1<<31 {
		life := time.Duration(s) * time.Second
		t.end = l.clock().Add(life)
		t.next = t.end.Add(-min(life/4, maxMargin))
	}
	return t, nil
}

// vaultHeader is what all questions to Vault carry.
func vaultHeader(namespace string) map[string]string {
	h := map[string]string{"X-Vault-Request": "true"}
	if namespace != "" {
		h["X-Vault-Namespace"] = namespace
	}
	return h
}
