package keyset

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// wellKnown is where an issuer describes itself (OpenID Connect Discovery 1.0, section 4).
const wellKnown = "/.well-known/openid-configuration"

// DiscoveryURL gives the address of an issuer's description: the issuer and the well-known path, as OpenID Connect
// Discovery 1.0, section 4.1 puts them together.
func DiscoveryURL(issuer string) string { return strings.TrimSuffix(issuer, "/") + wellKnown }

// discover finds out where the keys of an issuer are.
func discover(ctx context.Context, issuer string, roots *x509.CertPool) (jwksURL string, err error) {
	address := DiscoveryURL(issuer)
	doc, err := fetch(ctx, address, roots)
	if err != nil {
		return "", err
	}
	jwksURL, err = readDiscovery(doc.body, issuer)
	if err != nil {
		return "", fmt.Errorf("%s: %w", address, err)
	}
	return jwksURL, nil
}

// readDiscovery takes the address of the keys from a description. Its issuer must be exactly ours (OpenID Connect
// Discovery 1.0, section 4.3): else one issuer could speak for another.
func readDiscovery(data []byte, issuer string) (jwksURL string, err error) {
	var all map[string]json.RawMessage // a struct would also take "ISSUER"
	if err := json.Unmarshal(data, &all); err != nil {
		return "", fmt.Errorf("read the discovery document: %w", err)
	}
	var named string
	if json.Unmarshal(all["issuer"], &named) != nil || named == "" {
		return "", errors.New(`the discovery document has no "issuer"`)
	}
	if named != issuer {
		return "", fmt.Errorf("the discovery document is that of the issuer %q, not of %q: write the issuer exactly so, slashes and case included", shorten(named), issuer)
	}
	if json.Unmarshal(all["jwks_uri"], &jwksURL) != nil || jwksURL == "" {
		return "", errors.New(`the discovery document has no "jwks_uri"`)
	}
	if err := CheckURL(jwksURL); err != nil {
		return "", fmt.Errorf(`"jwks_uri" %q: %w`, shorten(jwksURL), err)
	}
	if strings.HasPrefix(issuer, "https:") && !strings.HasPrefix(jwksURL, "https:") {
		return "", fmt.Errorf(`"jwks_uri" %q is not https`, shorten(jwksURL))
	}
	return jwksURL, nil
}

// shorten keeps a stranger's long text out of the log.
func shorten(text string) string {
	if len(text) > 200 {
		return text[:200] + "…"
	}
	return text
}
