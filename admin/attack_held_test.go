package admin_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/admin"
	"github.com/claimpool/claimpool/revocation"
)

// hold opens 200 connections that say what is given, and no more. They end with the test.
func hold(t *testing.T, url, words string) {
	t.Helper()
	for range 200 {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.Write([]byte(words)) // it may have been closed already
	}
}

// soonEnough is less than the time after which the server itself gives up a silent connection.
const soonEnough = 8 * time.Second

// TestAttackHealthIsHeld: the attacker reaches the endpoint for health, which asks for no token. He holds all of its connections, so that the
// orchestrator gets no answer in time, and restarts the proxy.
//
// Must: The orchestrator must get its answer at once.
// Dialects: none
func TestAttackHealthIsHeld(t *testing.T) {
	t.Parallel()
	log, _ := newLog()
	always := &admin.Health{Alive: func(context.Context) bool { return true }, Ready: func() bool { return true }}
	url := serve(t, admin.HealthHandler(always), log)
	hold(t, url, "GET /healthz HTTP/1.1\r\nHost: a\r\n") // and no end
	began := time.Now()
	if status, text, _ := ask(t, "GET", url+"/healthz", ""); status != 200 || text != "ok\n" || time.Since(began) > soonEnough {
		t.Errorf("%d %q in %v", status, text, time.Since(began))
	}
}

// slowTable carries out one revocation, when it may.
type slowTable struct {
	counted
	begun, goOn chan struct{}
}

func (s *slowTable) Revoke(ctx context.Context, _ []revocation.Entry, _ *claimpool.Mark) error {
	close(s.begun)
	select {
	case <-s.goOn:
		return nil
	case <-ctx.Done(): // its connection has been taken away
		return ctx.Err()
	}
}

// TestAttackEndpointsAreHeld: the attacker reaches the endpoint of administrators, or that of issuers, and has neither token. He opens 200
// connections that say nothing, or begin a request and do not end it, before an administrator or issuer comes, and while the request of one
// is carried out.
//
// Must: Administrator and issuer must be answered at once, and the request that is under way must be carried out.
// Dialects: none
func TestAttackEndpointsAreHeld(t *testing.T) {
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	token := []string{"Authorization", "Bearer " + secret, "Content-Type", "application/json"}
	good := func([]byte) (*admin.Logout, error) {
		return &admin.Logout{Issuer: "i", Subject: "ann", ID: "1", Issued: time.Now()}, nil
	}
	for name, words := range map[string]string{
		"nothing":        "",
		"half a request": "POST /revocations HTTP/1.1\r\nHost: a\r\n",
		"half a body":    "POST " + admin.LogoutPath + " HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n\r\nl",
	} {
		for _, of := range []string{"administrators", "issuers"} {
			t.Run(of+", "+name, func(t *testing.T) {
				t.Parallel()
				log, _ := newLog()
				table := &slowTable{begun: make(chan struct{}), goOn: make(chan struct{})}
				handler, path, body, status, header := admin.Handler(claimpool.Secret(secret), table, table, nil, log), "/revocations", `{"issuer": "i", "sub": "ann"}`, http.StatusCreated, token
				if of == "issuers" {
					handler, path, body, status, header = admin.LogoutHandler(good, table, nil, log), admin.LogoutPath, "logout_token=good", http.StatusOK, form
				}
				url := serve(t, handler, log)
				hold(t, url, words)
				answered := make(chan int, 1)
				go func() {
					defer close(answered)
					got, _, _ := ask(t, "POST", url+path, body, header...)
					answered <- got
				}()
				select {
				case <-table.begun:
				case got := <-answered:
					t.Fatalf("answered %d", got)
				case <-time.After(soonEnough):
					t.Fatal("kept out")
				}
				hold(t, url, words)
				close(table.goOn)
				if got := <-answered; got != status {
					t.Errorf("answered %d", got)
				}
			})
		}
	}
}
