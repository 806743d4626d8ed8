package admin_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/admin"
)

// ledger keeps events in words, and none when it is full.
type ledger struct {
	mu   sync.Mutex
	list []string
	full bool
}

func (l *ledger) Record(e *claimpool.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		return errors.New("full")
	}
	if e.Addr == "" {
		l.list = append(l.list, "without an address")
	}
	l.list = append(l.list, string(e.Kind)+" "+e.Reason)
	return nil
}

// Whatever administrators and issuers ask for is recorded, and whatever strangers try.
func TestRequestsAreRecorded(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	log, _ := newLog()
	l := new(ledger)
	url := serve(t, admin.Handler(claimpool.Secret(secret), new(counted), nil, l, log), log) + "/revocations"
	logout := serve(t, admin.LogoutHandler(func(raw []byte) (*admin.Logout, error) {
		if string(raw) == "good" {
			return &admin.Logout{Issuer: "https://id", Subject: "ann", ID: "1", Issued: time.Now()}, nil
		}
		return nil, errors.New("bad_signature")
	}, new(counted), l, log), log) + admin.LogoutPath
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for _, test := range []struct {
		method, url, body string
		header            []string
		status            int
		want              string
	}{
		{"GET", url + "?a=b", "", []string{"Authorization", "Bearer " + secret}, http.StatusOK, "command GET /revocations"},
		{"GET", url, "", []string{"Authorization", "Bearer " + secret + "x"}, http.StatusUnauthorized, "refusal GET /revocations: no token, or a wrong one"},
		{"POST", logout, "logout_token=good", form, http.StatusOK, "command POST /backchannel-logout: signed out by the issuer https://id"},
		{"POST", logout, "logout_token=bad", form, http.StatusBadRequest, "refusal POST /backchannel-logout: bad_signature"},
	} {
		if status, text, _ := ask(t, test.method, test.url, test.body, test.header...); status != test.status {
			t.Errorf("%s: %d %s", test.want, status, text)
		}
		if len(l.list) != 1 || l.list[0] != test.want {
			t.Errorf("got %q, want %q", l.list, test.want)
		}
		l.list = nil
	}
	l.full = true
	if status, _, _ := ask(t, "GET", url, "", "Authorization", "Bearer "+secret); status != http.StatusServiceUnavailable {
		t.Errorf("a command that cannot be recorded: %d", status)
	}
	if status, _, _ := ask(t, "POST", logout, "logout_token=good", form...); status != http.StatusOK {
		t.Errorf("a logout that cannot be recorded: %d", status)
	}
}
