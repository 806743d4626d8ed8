package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/scram"
)

const verifierText = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$" +
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

func TestParseUserlist(t *testing.T) {
	const hash = "md50123456789abcdef0123456789ABCDEF"
	for _, test := range []struct {
		name string
		text string
		user string // that must be there
		kind storedKind
		err  string
	}{
		{"plain text", `"anna" "secret"`, "anna", storedPlain, ""},
		{"md5", `"anna" "` + hash + `"`, "anna", storedMD5, ""},
		{"verifier", `"anna" "` + verifierText + `"`, "anna", storedSCRAM, ""},
		{"almost md5", `"anna" "md5secret"`, "anna", storedPlain, ""},
		{"md5 with a digit too many", `"anna" "` + hash + `0"`, "anna", storedPlain, ""},
		{"quotes inside", `"an""na" "sec""ret"`, `an"na`, storedPlain, ""},
		{"only quotes", `"""" """"`, `"`, storedPlain, ""},
		{"more fields", `"anna" "secret" "" note`, "anna", storedPlain, ""},
		{"comments, empty lines, Windows line ends", "; users\r\n\r\n \t\"anna\"\t\"secret\" \r\n;", "anna", storedPlain, ""},
		{"no space between the fields", `"anna""secret"`, "", 0, `line 1: a field must begin`},
		{"semicolon in a name", `";" "secret"`, ";", storedPlain, ""},
		{"unicode", `"änne" "pässwörd"`, "änne", storedPlain, ""},
		{"no quotes", "anna secret", "", 0, "line 1: a field must begin"},
		{"second field missing", "\n\"anna\"", "", 0, "line 2: a field must begin"},
		{"no end", `"anna" "secret`, "", 0, "line 1: a field has no double quote"},
		{"end is an escaped quote", `"anna" "secret""`, "", 0, "line 1: a field has no double quote"},
		{"empty user", `"" "secret"`, "", 0, "user name is empty"},
		{"empty password", `"anna" ""`, "", 0, "password is empty"},
		{"twice", "\"anna\" \"a\"\n\"anna\" \"b\"", "", 0, "line 2: the user stands twice"},
		{"NUL byte", "\"an\x00na\" \"secret\"", "", 0, "NUL"},
		{"broken verifier", `"anna" "SCRAM-SHA-256$secret"`, "", 0, "line 1: malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := ParseUserlist([]byte(test.text))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, known := l.find(test.user, nil); !known || s.kind != test.kind || l.Len() != 1 {
				t.Errorf("known %v, kind %v of %d", known, s.kind, l.Len())
			}
		})
	}
}

func TestUserlistReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "userlist.txt")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	known := func(l *Userlist, user string) bool { _, ok := l.find(user, nil); return ok }
	write(`"anna" "one"`)
	l, err := LoadUserlist(path)
	if err != nil || !known(l, "anna") {
		t.Fatal(err)
	}
	write(`"bert" "two"`)
	if err := l.Reload(); err != nil || known(l, "anna") || !known(l, "bert") {
		t.Errorf("reload: %v", err)
	}
	write(`"cara" "broken`)
	if err := l.Reload(); err == nil || !known(l, "bert") {
		t.Errorf("a broken file replaced the users: %v", err)
	}
	write(`"cara" "three"`)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := l.Reload(); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("a file for everybody: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := l.Reload(); err == nil || !known(l, "bert") {
		t.Errorf("a missing file replaced the users: %v", err)
	}
	if _, err := LoadUserlist(path); err == nil {
		t.Error("a missing file was loaded")
	}
}

func TestDecoys(t *testing.T) {
	seed := claimpool.Secret("0123456789abcdef")
	l := parse(t, "\"anna\" \"plain\"\n\"bert\" \""+verifierText+"\"\n\"cara\" \"md50123456789abcdef0123456789abcdef\"")
	kinds := map[storedKind]int{}
	for _, user := range strings.Fields("a b c d e f g h i j k l m n o p q r s t u v w x y z") {
		s, known := l.find(user, seed)
		again, _ := l.find(user, seed)
		if known || !s.decoy || s.kind != again.kind {
			t.Errorf("decoy of %q: %+v, %+v", user, s, again)
		}
		kinds[s.kind]++
		v, err := s.verifier(user, seed)
		w, _ := again.verifier(user, seed)
		if err != nil || string(v.Salt) != string(w.Salt) || v.Iterations != w.Iterations {
			t.Errorf("the salt of %q changes", user)
		}
	}
	if len(kinds) != 3 {
		t.Errorf("unknown users do not look like known ones: %v", kinds)
	}
	if s, known := parse(t, "").find("eve", seed); known || s.kind != storedSCRAM || s.scram.Iterations != scram.DefaultIterations {
		t.Errorf("empty list: %+v", s)
	}
}

func FuzzParseUserlist(f *testing.F) {
	f.Add([]byte("\"anna\" \"secret\"\n; note\n\"bert\" \"md50123456789abcdef0123456789abcdef\""))
	f.Add([]byte(`"a""b" "` + verifierText + `" x`))
	f.Add([]byte("\"\x00\" \"\xff\""))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := ParseUserlist(text)
		if err != nil {
			return
		}
		for name, s := range l.users.Load().byName {
			if name == "" || s.decoy || s.kind == storedPlain && len(s.plain) == 0 || s.kind == storedMD5 && len(s.hash) != 32 {
				t.Errorf("user %q has %+v", name, s)
			}
		}
	})
}
