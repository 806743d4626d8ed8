package main

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/claimpool/claimpool/config"
)

// TestAttackCommandFlood: strangers begin many logins at once, where each needs a secret that a program prints.
//
// Must: They must not be able to start as many programs.
// Dialects: none
func TestAttackCommandFlood(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs")
	secret := secretForStrangers(config.Secret{Command: []string{"/bin/sh", "-c", `sleep 0.2; echo x >>"$0"; echo secret`, runs}})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, err := secret(t.Context()); string(got) != "secret" {
				t.Errorf("%d bytes (%v)", len(got), err)
			}
		})
	}
	wg.Wait()
	// One for all, or a few on a machine so busy that seconds pass meanwhile.
	if b, err := os.ReadFile(runs); err != nil || len(b)/2 > 10 {
		t.Errorf("the program was run %d times (%v)", len(b)/2, err)
	}
}
