package claimpool_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
)

// TestSecretsDoNotPrint: no verb of package fmt shows a secret, alone or inside of something, and no log does.
func TestSecretsDoNotPrint(t *testing.T) {
	secret := claimpool.Secret("geheim")
	inside := struct{ Key claimpool.Secret }{secret}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U", "%T%v", "%20s"} {
		for _, value := range []any{secret, inside, &inside, []claimpool.Secret{secret}} {
			got := fmt.Sprintf(verb, value)
			for _, shown := range []string{"geheim", "67656865696d", "67656865696D", "103 101", "67 65", "U+0067"} {
				if strings.Contains(got, shown) {
					t.Errorf("%s of %T: %s", verb, value, got)
				}
			}
			if verb == "%v" && !strings.Contains(got, "redacted") && value != any(&inside) {
				t.Errorf("%T prints as %s", value, got)
			}
		}
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "err", secret)
	if strings.Contains(log.String(), "geheim") {
		t.Error(log.String())
	}
}
