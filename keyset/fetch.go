package keyset

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Bounds of one fetch. Who answers is an issuer that we trust with identities, but not with our memory.
const (
	maxDocument  = 256 << 10 // bytes of a body, unpacked: 100 keys with their certificates are less
	maxHeader    = 64 << 10  // bytes of a response's header
	maxRedirects = 3
)

// CheckURL says what is wrong with an address that keys are to be fetched from. Whoever can change the answer can sign
// tokens, so it must be https; http is only for loopback addresses.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("it is not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("it must begin with https://")
	case u.Hostname() == "" || u.Opaque != "":
		return errors.New("it names no host")
	case u.User != nil:
		return errors.New("it must hold no user and no password")
	case u.Fragment != "":
		return errors.New("it must hold no #")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return errors.New("it must begin with https://: over http everybody on the way could change the keys; http is for loopback addresses")
	}
	return nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// document is what a fetch gave.
type document struct {
	body   []byte
	maxAge time.Duration // how long the server says that it may be kept (RFC 9111, section 5.2.2); negative when it does not say
}

// fetch gets a JSON document. It follows redirects only within the same scheme, host and port: what answers elsewhere is
// somebody else. The proxies of the environment (HTTPS_PROXY, NO_PROXY) are used, except for loopback addresses.
func fetch(ctx context.Context, address string, roots *x509.CertPool) (*document, error) {
	if err := CheckURL(address); err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "claimpool")
	client := &http.Client{Transport: transport(req.URL.Scheme, roots), CheckRedirect: sameOrigin}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: the server answers %s", address, strconv.Quote(resp.Status))
	}
	if kind := resp.Header.Get("Content-Type"); !isJSON(kind) {
		return nil, fmt.Errorf("%s: the server sends %q, not JSON", address, kind)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", address, err)
	case len(body) > maxDocument:
		return nil, fmt.Errorf("%s: the document is larger than %d bytes", address, maxDocument)
	}
	return &document{body, maxAge(resp.Header)}, nil
}

// transport keeps no connection: fetches are minutes apart.
func transport(scheme string, roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{}
	if scheme == "http" { // a name such as localhost must not lead elsewhere
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			if host, _, err := net.SplitHostPort(address); err != nil || !net.ParseIP(host).IsLoopback() {
				return fmt.Errorf("%s is not a loopback address", address)
			}
			return nil
		}
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
	}
}

func sameOrigin(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || req.URL.User != nil:
		return fmt.Errorf("the server redirects to %s://%s, and keys of another server are not taken", req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// isJSON accepts application/json, application/jwk-set+json and their like. A login page that answers in a server's place
// says that it is HTML.
func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json"))
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
