package credential

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
)

// epoch is the time of all tests.
var epoch = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return epoch }

// service is a fake that answers as it is told, and remembers what it was asked.
type service struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string // "GET /path?query Name=value body"
	answer func(w http.ResponseWriter, r *http.Request)
}

// serve starts a service. Of the headers, those in note are remembered.
func serve(t *testing.T, answer func(w http.ResponseWriter, r *http.Request), note ...string) *service {
	t.Helper()
	s := &service{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		line := r.Method + " " + r.URL.RequestURI()
		for _, name := range note {
			line += " " + name + "=" + r.Header.Get(name)
		}
		if len(body) > 0 {
			line += " " + string(body)
		}
		s.mu.Lock()
		s.asked = append(s.asked, line)
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) set(answer func(w http.ResponseWriter, r *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// lines are the questions so far.
func (s *service) lines() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, "\n")
}

func says(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

func status(code int, text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); io.WriteString(w, text) }
}

// file writes a secret file.
func file(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return name
}

// environment empties the variables that could lead a test elsewhere, and sets some.
func environment(t *testing.T, set map[string]string) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_ROLE_SESSION_NAME", "AWS_ROLE_ARN", "GCE_METADATA_HOST", "AZURE_FEDERATED_TOKEN_FILE",
		"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST", "IDENTITY_ENDPOINT", "IDENTITY_HEADER",
	} {
		t.Setenv(name, set[name])
	}
}

// shows reports which of some secrets an error shows, however it is printed.
func shows(err error, secrets ...string) string {
	text := fmt.Sprintf("%v %+v %#v %v", err, err, err, claimpool.AsError(err).Error())
	for _, s := range secrets {
		if strings.Contains(text, s) {
			return s
		}
	}
	return ""
}
