package pgtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// JITAPI is an API for just-in-time access on loopback. Its answers are those of Supavisor's own stand-in for tests
// (priv/jit/jit_api_service), and more that tests give it; it keeps what it was asked.
type JITAPI struct {
	URL string

	mu      sync.Mutex
	answers map[string]JITAnswer // by token
	instead http.HandlerFunc
	asked   []JITQuestion
}

// JITAnswer is what the API answers.
type JITAnswer struct {
	Status int
	Body   string
}

// JITQuestion is what the API was asked.
type JITQuestion struct {
	Token, Role, Address string
	Body                 string
	Header               http.Header
	Method               string
}

// JITUser is the user_id of all of the API's grants.
const JITUser = "e5cb8a42-4a4b-4d24-a7f0-5ea38f4a2b6f"

// The personal access tokens that it knows from the start.
const (
	JITToken     = "sbp_04fee3d26b63d9a3557c72a1b9902cbb8412c836" // for the role postgres
	JITOther     = "sbp_04fee3d26b63d9a3557c72a1b9902cbb8412c000" // for another role
	JITForbidden = "sbp_04fee3d26b63d9a3557c72a1b9902cbb84100001" // 403
	JITOutage    = "sbp_4444e3d26b63d9a3557c72a1b9902cbb84121111" // 503
)

// JITGrant is the answer that grants a role.
func JITGrant(role string) JITAnswer {
	return JITAnswer{http.StatusOK, fmt.Sprintf(`{"user_id":%q,"user_role":{"role":%q}}`, JITUser, role)}
}

// StartJITAPI runs one until the test ends.
func StartJITAPI(t testing.TB) *JITAPI {
	t.Helper()
	a := &JITAPI{answers: map[string]JITAnswer{
		JITToken: JITGrant("postgres"), JITOther: JITGrant("otherrole"),
		JITForbidden: {http.StatusForbidden, `{"message":"forbidden"}`}, JITOutage: {http.StatusServiceUnavailable, `{"message":"down"}`},
	}}
	server := httptest.NewServer(a)
	t.Cleanup(func() {
		server.CloseClientConnections() // those that it keeps waiting
		server.Close()
	})
	a.URL = server.URL + "/projects/ref/database/jit"
	return a
}

// Answer sets the answer to a token; a status of 0 makes it unknown.
func (a *JITAPI) Answer(token string, answer JITAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[token] = answer
}

// Instead makes it do something else; nil makes it behave again.
func (a *JITAPI) Instead(do http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.instead = do
}

// Asked gives all questions so far.
func (a *JITAPI) Asked() []JITQuestion {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]JITQuestion(nil), a.asked...)
}

// ServeHTTP answers.
func (a *JITAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	q := JITQuestion{Body: string(body), Header: r.Header, Method: r.Method}
	q.Token, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	var asks struct{ Role, RHost string }
	valid := json.Unmarshal(body, &asks) == nil
	q.Role, q.Address = asks.Role, asks.RHost
	a.mu.Lock()
	a.asked = append(a.asked, q)
	answer, instead := a.answers[q.Token], a.instead
	a.mu.Unlock()
	switch {
	case instead != nil:
		instead(w, r)
		return
	case !valid:
		answer = JITAnswer{http.StatusBadRequest, `{"message":"bad request"}`}
	case answer.Status == 0:
		answer = JITAnswer{http.StatusUnauthorized, `{"message":"failed authorization"}`}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.Status)
	io.WriteString(w, answer.Body)
}
