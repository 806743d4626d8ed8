package main

import (
	"net"
	"syscall"
	"testing"
)

// Somebody who connects and leaves, as load balancers do to see whether a port is open, is a line for debugging and nothing else: no refusal,
// and nothing that an operator would be woken for.
func TestServeIsSilentAboutStrangers(t *testing.T) {
	s := newStage(t)
	p := s.serve()
	const strangers = 5
	for i := range strangers {
		c, err := net.Dial("tcp", p.address())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte{0, 0, 0, 8}[:i%5]); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	p.await("client left before its login was over", strangers)
	p.signal(syscall.SIGTERM)
	p.exits()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		if line["client"] != nil && line["level"] != "DEBUG" {
			t.Errorf("logged: %v", line)
		}
	}
}
