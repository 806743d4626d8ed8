package claimpool_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/claimpool/claimpool"
)

// TestAttackNamesThatSteerTerminals: a stranger logs in under names that a terminal obeys, and somebody reads the lines of JSON in one.
//
// Must: The lines hold nothing that a terminal obeys, and say the same to programs.
// Dialects: none
func TestAttackNamesThatSteerTerminals(t *testing.T) {
	for _, name := range []string{
		"ann", "änn 漢 🙂", "\u009b31mred", "a\u202egnp.exe", "\u2066x\u2069", "\x7f", "\u061c", "\u200f", "\x1b[2J\r\n{}", "\u2028", "\xff\x9b", "\"\\",
	} {
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("refused", "user", name)
		line := b.Bytes()
		var before, after map[string]any
		if err := json.Unmarshal(line, &before); err != nil {
			t.Fatal(err)
		}
		got := claimpool.Inert(bytes.Clone(line))
		if err := json.Unmarshal(got, &after); err != nil || before["user"] != after["user"] {
			t.Errorf("%q: %q, %v", name, after["user"], err)
		}
		for _, r := range string(bytes.TrimSuffix(got, []byte("\n"))) {
			if claimpool.Steers(r) {
				t.Errorf("%q: %q is in %s", name, r, got)
			}
		}
		if plain := bytes.ContainsFunc(line[:len(line)-1], claimpool.Steers); !plain && !bytes.Equal(got, line) {
			t.Errorf("%q: %s", name, got)
		}
	}
}
