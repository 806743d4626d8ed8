package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestAttackTokenInTheLog: somebody has put his token where the user, the database or a setting belongs. The attacker reads the log.
//
// Must: The token is not in it.
// Dialects: none
func TestAttackTokenInTheLog(t *testing.T) {
	s := newStage(t)
	p := s.serve()
	token := s.issuer.Mint("x", map[string]any{})
	half := token[:min(len(token), 250)] // as long as a name may be; whoever finds it knows the rest soon
	for _, name := range []string{half, "a " + half, "ann." + half} {
		if _, err := s.dial(p, name, "x", "server.test"); err == nil {
			t.Fatal("let in")
		}
	}
	p.await("connection refused", 3)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		if strings.Contains(fmt.Sprint(line), half[:40]) {
			t.Errorf("logged: %v", line)
		}
	}
}
