package keyset

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	remote "github.com/claimpool/claimpool/fetch"
)

// maxDocument bounds a document, unpacked: 100 keys with their certificates are less.
const maxDocument = 256 << 10

// CheckURL says what is wrong with an address that keys are to be fetched from.
func CheckURL(address string) error { return remote.CheckURL(address) }

// document is what a fetch gave.
type document struct {
	body   []byte
	maxAge time.Duration // how long the server says that it may be kept (RFC 9111, section 5.2.2); negative when it does not say
}

// fetch gets a JSON document. It keeps no connection: fetches are minutes apart.
func fetch(ctx context.Context, address string, roots *x509.CertPool) (*document, error) {
	client, err := remote.NewClient(address, remote.Options{Roots: roots, Redirects: true})
	if err != nil {
		return nil, err
	}
	answer, err := client.Get(ctx, http.Header{"Accept": {"application/jwk-set+json, application/json"}}, maxDocument)
	switch {
	case err != nil:
		return nil, err
	case answer.Code != http.StatusOK:
		return nil, fmt.Errorf("%s: the server answers %s", address, strconv.Quote(answer.Status))
	case !answer.JSON():
		return nil, fmt.Errorf("%s: the server sends %q, not JSON", address, answer.Header.Get("Content-Type"))
	}
	return &document{answer.Body, maxAge(answer.Header)}, nil
}

// maxAge reads Cache-Control and Age (RFC 9111, sections 5.1 and 5.2.2).
func maxAge(h http.Header) time.Duration {
	age := time.Duration(-1)
	for _, directive := range strings.Split(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				age = time.Duration(seconds) * time.Second
			}
		}
	}
	if old, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil && age >= 0 {
		age = max(0, age-time.Duration(old)*time.Second)
	}
	return age
}
