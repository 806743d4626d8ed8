package server

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
)

func TestParseHost(t *testing.T) {
	for _, test := range []struct {
		in   string
		want address
		ok   bool
	}{
		{"db.example.com:5433", address{"tcp", "db.example.com:5433", "db.example.com"}, true},
		{"db.example.com", address{"tcp", "db.example.com:5432", "db.example.com"}, true},
		{"10.0.0.1", address{"tcp", "10.0.0.1:5432", "10.0.0.1"}, true},
		{"::1", address{"tcp", "[::1]:5432", "::1"}, true},
		{"[::1]:5433", address{"tcp", "[::1]:5433", "::1"}, true},
		{"/run/postgresql", address{"unix", "/run/postgresql/.s.PGSQL.5432", ""}, true},
		{"/run/postgresql:5433", address{"unix", "/run/postgresql/.s.PGSQL.5433", ""}, true},
		{"/run/postgresql/.s.PGSQL.5433", address{"unix", "/run/postgresql/.s.PGSQL.5433", ""}, true},
		{"", address{}, false},
		{":5432", address{}, false},
		{"host:", address{}, false},
		{"host:0", address{}, false},
		{"host:65536", address{}, false},
		{"host:postgres", address{}, false},
		{"[::1", address{}, false},
		{"a:b:c", address{}, false},
		{"/run/postgresql:x", address{}, false},
	} {
		t.Run(test.in, func(t *testing.T) {
			got, err := parseHost(test.in)
			if got != test.want || (err == nil) != test.ok || (ParseHost(test.in) == nil) != test.ok {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestLoopback(t *testing.T) {
	for in, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "[::ffff:127.0.0.1]:1": true,
		"0.0.0.0": false, "10.0.0.1": false, "localhost.example.com": false, "/run": false,
	} {
		a, err := parseHost(in)
		if err != nil || a.loopback() != want {
			t.Errorf("%s: loopback %v, %v", in, a.loopback(), err)
		}
	}
}

func TestPasswordSources(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // the umask has no say
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("CLAIMPOOL_TEST_PASSWORD", "from the environment")
	t.Setenv("CLAIMPOOL_TEST_EMPTY", "")
	long := strings.Repeat("x", maxPassword)
	type source = func(context.Context) (claimpool.Secret, error)
	for _, test := range []struct {
		name   string
		source source
		want   string
		err    string
	}{
		{"file", FilePassword(file("plain", "secret\n", 0o600)), "secret", ""},
		{"file for the group", FilePassword(file("group", "secret", 0o640)), "secret", ""},
		{"file with a line end of Windows", FilePassword(file("crlf", "secret\r\n", 0o600)), "secret", ""},
		{"file with a second line", FilePassword(file("lines", " se cret \nnote\n", 0o600)), " se cret ", ""},
		{"longest file", FilePassword(file("long", long+"\n", 0o600)), long, ""},
		{"file too long", FilePassword(file("too long", long+"x", 0o600)), "", "longer than"},
		{"file for everybody", FilePassword(file("open", "secret", 0o644)), "", "every user"},
		{"empty file", FilePassword(file("empty", "", 0o600)), "", "is empty"},
		{"empty line", FilePassword(file("line", "\nsecret", 0o600)), "", "is empty"},
		{"NUL byte", FilePassword(file("nul", "a\x00b", 0o600)), "", "NUL"},
		{"missing file", FilePassword(filepath.Join(dir, "none")), "", "no such file"},
		{"folder", FilePassword(dir), "", "regular file"},
		{"endless file", FilePassword("/dev/zero"), "", "regular file"},
		{"environment", EnvPassword("CLAIMPOOL_TEST_PASSWORD"), "from the environment", ""},
		{"environment, empty", EnvPassword("CLAIMPOOL_TEST_EMPTY"), "", "is empty"},
		{"environment, not set", EnvPassword("CLAIMPOOL_TEST_NOT_SET"), "", "not set"},
		{"command", CommandPassword("echo", "two words"), "two words", ""},
		{"command without a shell", CommandPassword("echo", "$HOME; true"), "$HOME; true", ""},
		{"command fails", CommandPassword("sh", "-c", "echo secret; echo secret >&2; exit 3"), "", "exit status 3"},
		{"command prints nothing", CommandPassword("true"), "", "is empty"},
		{"command prints for ever", CommandPassword("cat", "/dev/zero"), "", "longer than"},
		{"command missing", CommandPassword("/does/not/exist"), "", "no such file"},
		{"no command", CommandPassword(), "", "is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.source(t.Context())
			switch {
			case test.err == "" && (err != nil || string(got) != test.want):
				t.Errorf("got %d bytes, %v", len(got), err)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("got %v, want %q", err, test.err)
			case err != nil && strings.Contains(err.Error(), "secret\n"):
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestPasswordIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	source := FilePassword(path)
	for _, want := range []string{"old", "new"} {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := source(t.Context()); err != nil || string(got) != want {
			t.Errorf("got %s, %v", []byte(got), err)
		}
	}
}

func TestPasswordCommandEndsWithTheLogin(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := CommandPassword("sleep", "60")(ctx)
	if err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("got %v", err)
	}
}

func TestConfigCheck(t *testing.T) {
	good := Config{Hosts: []string{"localhost"}, Database: "d", Role: "r"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Config){
		"no host":          func(c *Config) { c.Hosts = nil },
		"bad second host":  func(c *Config) { c.Hosts = []string{"localhost", "x:y"} },
		"no role":          func(c *Config) { c.Role = "" },
		"no database":      func(c *Config) { c.Database = "" },
		"unknown method":   func(c *Config) { c.Methods = []Method{"kerberos"} },
		"protocol 2":       func(c *Config) { c.Version = 2 << 16 },
		"protocol 3.1":     func(c *Config) { c.Version = 3<<16 | 1 },
		"unknown TLS mode": func(c *Config) { c.TLS.Mode = "allow" },
		"key without cert": func(c *Config) { c.TLS.KeyFile = "k" },
	} {
		c := good
		edit(&c)
		if err := c.Check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
