// Package fetch makes one bounded HTTP request to somebody whose answer decides who may log in: an issuer that publishes keys,
// an API that judges tokens. Such a server is trusted with identities, but not with our memory or our time. The package does not
// know what is asked, or what the answer means.
package fetch

import (
	"bytes"
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
	"strings"
	"syscall"
	"time"
)

// Bounds of every request.
const (
	maxHeader      = 64 << 10 // bytes of a response's header
	maxRedirects   = 3
	maxConnections = 64 // of one client to its host; more requests wait for one
	idleConnection = 30 * time.Second
)

// CheckURL says what is wrong with an address that decides who may log in. Whoever can change the answer can let himself in,
// so it must be https; http is only for loopback addresses.
func CheckURL(address string) error {
	_, err := checkURL(address, false)
	return err
}

func checkURL(address string, machine bool) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("it is not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("it must begin with https://")
	case u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("it names no host")
	case u.User != nil:
		return nil, errors.New("it must hold no user and no password")
	case u.Fragment != "":
		return nil, errors.New("it must hold no #")
	case u.Scheme == "http" && !machine && !isLoopback(u.Hostname()):
		return nil, errors.New("it must begin with https://: over http everybody on the way could read and change the answer; http is for loopback addresses")
	}
	return u, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// Client makes requests to one address. It is safe for concurrent use.
type Client struct {
	address string
	http    http.Client
}

// Options say how a Client behaves.
type Options struct {
	Roots *x509.CertPool // sign the server's certificate; nil means those of the system

	// Redirects are followed, up to three, within the same scheme, host and port: what answers elsewhere is somebody else. Never
	// where a request carries a credential.
	Redirects bool

	// Keep keeps connections for the next request, for half a minute.
	Keep bool

	// Machine is for services of the machine itself, such as a cloud's metadata service: they speak http, at addresses that are not
	// loopback ones, and no proxy of the environment may see what is asked.
	Machine bool
}

// NewClient makes a client for an address. The proxies of the environment (HTTPS_PROXY, NO_PROXY) are used, except for loopback
// addresses.
func NewClient(address string, o Options) (*Client, error) {
	u, err := checkURL(address, o.Machine)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place(address), err)
	}
	dialer, proxy := &net.Dialer{}, http.ProxyFromEnvironment
	if o.Machine {
		proxy = nil
	} else if u.Scheme == "http" { // a name such as localhost must not lead elsewhere
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			if host, _, err := net.SplitHostPort(address); err != nil || !net.ParseIP(host).IsLoopback() {
				return fmt.Errorf("%s is not a loopback address", address)
			}
			return nil
		}
	}
	c := &Client{address: address}
	c.http.Transport = &http.Transport{
		Proxy: proxy, DialContext: dialer.DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: !o.Keep, MaxResponseHeaderBytes: maxHeader, MaxConnsPerHost: maxConnections, IdleConnTimeout: idleConnection,
	}
	c.http.CheckRedirect = noRedirect
	if o.Redirects {
		c.http.CheckRedirect = sameOrigin
	}
	return c, nil
}

// Place is the address without its query, which may hold a key: for people.
func (c *Client) Place() string { return place(c.address) }

// Close closes the connections that are kept.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Answer is what a server has said, whatever its status.
type Answer struct {
	Code   int    // the status
	Status string // with its text: "200 OK"
	Header http.Header
	Body   []byte
}

// Get asks for a document.
func (c *Client) Get(ctx context.Context, header http.Header, limit int64) (*Answer, error) {
	return c.do(ctx, http.MethodGet, header, nil, limit)
}

// Post sends a body, which it may hold until the end of the request, and not change.
func (c *Client) Post(ctx context.Context, header http.Header, body []byte, limit int64) (*Answer, error) {
	return c.do(ctx, http.MethodPost, header, body, limit)
}

// Put sends nothing but a header, with PUT.
func (c *Client) Put(ctx context.Context, header http.Header, limit int64) (*Answer, error) {
	return c.do(ctx, http.MethodPut, header, nil, limit)
}

// do makes a request. An answer longer than limit bytes, unpacked, is an error. No error shows the header or the body of the
// request, nor the query of its address: they may hold a credential.
func (c *Client) do(ctx context.Context, method string, header http.Header, body []byte, limit int64) (*Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", "claimpool")
	resp, err := c.http.Do(req)
	var failed *url.Error
	switch {
	case errors.As(err, &failed): // it would show the whole address
		return nil, fmt.Errorf("%s: %w", c.Place(), failed.Err)
	case err != nil:
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c.Place(), err)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: the document is larger than %d bytes", c.Place(), limit)
	}
	return &Answer{Code: resp.StatusCode, Status: resp.Status, Header: resp.Header, Body: data}, nil
}

// place is an address without its query.
func place(address string) string {
	address, _, _ = strings.Cut(address, "?")
	return address
}

// noRedirect gives the redirect itself as the answer.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func sameOrigin(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || req.URL.User != nil:
		return fmt.Errorf("the server redirects to %s://%s, and answers of another server are not taken", req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// JSON reports whether the answer says that it is application/json, application/jwk-set+json or their like. A login page that
// answers in a server's place says that it is HTML.
func (a *Answer) JSON() bool {
	kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json"))
}
