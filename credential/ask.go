package credential

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/fetch"
)

const (
	// maxAnswer bounds an answer; a token has some kilobytes.
	maxAnswer = 256 << 10
	// maxWait bounds one request: a login waits for it.
	maxWait = 5 * time.Second
	// maxFile bounds what is read from a file of a token.
	maxFile = 64 << 10
)

// ofMachine is how services of the machine itself are asked.
var ofMachine = fetch.Options{Machine: true}

// request is one question to a service.
type request struct {
	method, url string
	header      map[string]string
	body        string // a form
}

// ask sends a request and gives the body of an answer 200. It follows no redirect: what we send is worth as much as what we get. No error
// shows the body, or what the request holds besides its address.
func ask(ctx context.Context, o fetch.Options, r request) ([]byte, http.Header, error) {
	client, err := fetch.NewClient(r.url, o)
	if err != nil {
		return nil, nil, err
	}
	header := http.Header{}
	if r.body != "" {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range r.header {
		header.Set(name, value)
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	var answer *fetch.Answer
	switch r.method {
	case http.MethodGet:
		answer, err = client.Get(ctx, header, maxAnswer)
	case http.MethodPut:
		answer, err = client.Put(ctx, header, maxAnswer)
	default:
		answer, err = client.Post(ctx, header, []byte(r.body), maxAnswer)
	}
	if err != nil {
		return nil, nil, err
	}
	if answer.Code != http.StatusOK {
		where, _, _ := strings.Cut(r.url, "?")
		return nil, nil, &statusError{answer.Code, fmt.Sprintf("%s answered %s", where, answer.Status)}
	}
	return answer.Body, answer.Header, nil
}

// statusError is an answer that is not 200.
type statusError struct {
	code int
	text string
}

// Error says where from.
func (e *statusError) Error() string { return e.text }

// askJSON is ask for an answer in JSON. The decoder's errors may show a part of what they read, so they are not passed on.
func askJSON(ctx context.Context, o fetch.Options, r request, into any) error {
	body, _, err := ask(ctx, o, r)
	defer clear(body)
	if err == nil && json.Unmarshal(body, into) != nil {
		err = errors.New("the answer is not the JSON that was expected")
	}
	return err
}

// readToken reads a file with a token, which somebody else renews. Others on the machine must not be able to read it, unless shared
// says that the platform puts it there for all processes of the container.
func readToken(path string, shared bool) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("read token file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("read token file: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("read token file: %q is not a regular file", path)
	case info.Mode().Perm()&0o006 != 0 && !shared:
		return "", fmt.Errorf("read token file: every user of this machine may read or write %q; chmod it to 0600", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", fmt.Errorf("read token file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsAny(token, "\r\n\x00") {
		return "", fmt.Errorf("read token file: %q holds no token", path)
	}
	return token, nil
}

// password refuses what cannot be a password in protocol 3.
func password(s string) (claimpool.Secret, error) {
	const longest = 65_535 // PostgreSQL's limit for a password message
	switch {
	case s == "":
		return nil, errors.New("the answer has an empty password")
	case len(s) > longest:
		return nil, fmt.Errorf("the password is longer than %d bytes", longest)
	case strings.ContainsRune(s, 0):
		return nil, errors.New("the password has a NUL byte")
	}
	return claimpool.Secret(s), nil
}

// loadRoots reads the certificates that sign a service's; nil for those of the system.
func loadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}
