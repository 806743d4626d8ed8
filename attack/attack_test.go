package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository makes a folder with one package of attacks, and what go test -json has written about them.
func repository(t *testing.T, comment string, events ...string) (root, log string) {
	t.Helper()
	root = t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "proxy"), 0o755); err != nil {
		t.Fatal(err)
	}
	source := "package proxy_test\n\n" + comment + "\nfunc TestAttackBreakIn(t *testing.T) {}\n"
	log = filepath.Join(root, "log.json")
	for name, text := range map[string]string{filepath.Join(root, "proxy", "a_test.go"): source, log: strings.Join(events, "\n")} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root, log
}

const breakIn = "// TestAttackBreakIn: he breaks in.\n//\n// Must: He does not.\n// Dialects: sql, native, pgbouncer"

func said(action, test, output string) string {
	return fmt.Sprintf(`{"Action":%q,"Package":"github.com/claimpool/claimpool/proxy","Test":%q,"Output":%q}`, action, test, output)
}

func whole(action, output string) string {
	return fmt.Sprintf(`{"Action":%q,"Package":"github.com/claimpool/claimpool/proxy","Output":%q}`, action, output)
}

// passed are the events of a test whose subtests all passed.
func passed(tests ...string) (events []string) {
	for _, test := range tests {
		events = append(events, said("run", test, ""), said("pass", test, ""))
	}
	return events
}

// TestOutcomes is the proof that the table can say "BROKEN", and more.
func TestOutcomes(t *testing.T) {
	good := passed("TestAttackBreakIn/sql/pg15", "TestAttackBreakIn/sql/pg18", "TestAttackBreakIn/native/pg18/by the door",
		"TestAttackBreakIn/native/pg18/by the window", "TestAttackBreakIn/native/pg18", "TestAttackBreakIn")
	for _, test := range []struct {
		name   string
		target string
		events []string
		held   bool
		want   []string
	}{
		{"all held", claimpool, good, true, []string{
			"proxy: break in sql 15 held", "proxy: break in sql 18 held", "proxy: break in native 18 held (2 cases)",
			"1 attacks on claimpool, 3 runs: 3 held, 0 broken, 0 not run (0s)"}},
		{"one case is broken", claimpool, append(good[:4:4], said("run", "TestAttackBreakIn/native/pg18/by the door", ""),
			said("output", "TestAttackBreakIn/native/pg18/by the door", "tenant t1 sees t2 10\n"), said("fail", "TestAttackBreakIn/native/pg18/by the door", ""),
			said("pass", "TestAttackBreakIn/native/pg18/by the window", ""), said("fail", "TestAttackBreakIn/native/pg18", ""), said("fail", "TestAttackBreakIn", ""), whole("fail", "")), false, []string{
			"proxy: break in sql 15 held", "proxy: break in native 18 BROKEN (1 of 2 cases)", "tenant t1 sees t2 10",
			"3 runs: 2 held, 1 broken, 0 not run"}},
		{"a panic", claimpool, append(good[:4:4], said("run", "TestAttackBreakIn/native/pg18", ""), whole("output", "panic: no\n"), whole("fail", "")), false,
			[]string{"proxy: break in native 18 BROKEN", "did not end"}},
		{"a dialect did not run", claimpool, passed("TestAttackBreakIn/sql/pg15"), false, []string{"proxy: break in native - NOT RUN", "1 not run"}},
		{"a test that skips has not run", claimpool, append(passed("TestAttackBreakIn/sql/pg15"), said("skip", "TestAttackBreakIn/native/pg15", "")), false, []string{"native - NOT RUN"}},
		{"nothing ran", claimpool, []string{whole("output", "syntax error\n"), whole("fail", "")}, false, []string{"sql - NOT RUN", "package proxy failed:", "syntax error"}},
		{"it does not compile", claimpool, []string{`{"ImportPath":"github.com/claimpool/claimpool/proxy [github.com/claimpool/claimpool/proxy.test]","Action":"build-output","Output":"undefined: x\n"}`,
			`{"ImportPath":"github.com/claimpool/claimpool/proxy [github.com/claimpool/claimpool/proxy.test]","Action":"build-fail"}`}, false, []string{"package proxy failed:", "undefined: x"}},
		{"the package fails behind its tests", claimpool, append(good, whole("output", "goroutines leak\n"), whole("fail", "")), false, []string{"package proxy failed:", "goroutines leak"}},
		{"it succeeds against others", pgbouncer, []string{said("pass", "TestAttackBreakIn/pgbouncer/pg15/by the door", ""), said("fail", "TestAttackBreakIn/pgbouncer/pg15/by_the_window", ""),
			said("fail", "TestAttackBreakIn/pgbouncer/pg15", ""), said("fail", "TestAttackBreakIn", "")}, true, []string{
			"proxy: break in pgbouncer 15 succeeds (1 of 2 cases)", "by the window succeeds", "1 runs: 0 held, 1 succeed, 0 not run"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root, log := repository(t, breakIn, test.events...)
			var out bytes.Buffer
			held, err := run(t.Context(), []string{"-root", root, "-read", log, "-target", test.target}, &out, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if held != test.held {
				t.Errorf("held: %v", held)
			}
			text := strings.Join(strings.Fields(out.String()), " ")
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is missing in\n%s", want, out.String())
				}
			}
		})
	}
}

func TestCommentsAreChecked(t *testing.T) {
	for name, test := range map[string]struct{ comment, want string }{
		"no comment":            {"", "does not tell"},
		"no outcome":            {"// He breaks in.", "does not tell"},
		"no dialects":           {"// He breaks in.\n//\n// Must: no.", `no line "Dialects:"`},
		"unknown dialect":       {"// He breaks in.\n//\n// Must: no.\n// Dialects: sql, oracle", `"oracle" is no dialect`},
		"unknown reason":        {"// He breaks in.\n//\n// Must: no.\n// Dialects: sql\n// Not oracle: x", `"oracle" is no dialect`},
		"a dialect is missing":  {"// He breaks in.\n//\n// Must: no.\n// Dialects: sql, pgbouncer", "must name the dialect native"},
		"pgbouncer is missing":  {"// He breaks in.\n//\n// Must: no.\n// Dialects: sql, native", "must name the dialect pgbouncer"},
		"it runs, and does not": {"// He breaks in.\n//\n// Must: no.\n// Dialects: sql, native, pgbouncer\n// Not native: x", "must name the dialect native"},
		"said twice":            {"// He breaks in.\n//\n// Must: no.\n// Must: yes.", "twice"},
		"without a database":    {"// He breaks in.\n//\n// Must: no.\n// Dialects: none", ""},
		"with reasons":          {"// He breaks in.\n//\n// Must: no, and\n// no again.\n// Dialects: sql\n// Not native: x\n// Not pgbouncer: y", ""},
	} {
		t.Run(name, func(t *testing.T) {
			root, _ := repository(t, test.comment)
			attacks, untold, err := catalogue(root)
			if err != nil || len(attacks) != 1 {
				t.Fatal(attacks, err)
			}
			if err := errors.Join(untold...); test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if _, err := run(t.Context(), []string{"-root", root, "-page", filepath.Join(root, "page.md")}, io.Discard, io.Discard); (err == nil) != (test.want == "") {
				t.Errorf("the page: %v", err)
			}
		})
	}
}

func TestTitles(t *testing.T) {
	for name, want := range map[string]string{
		"TestAttackCancelBackends": "cancel backends", "TestAttackHostileSCRAM": "hostile SCRAM", "TestAttackSASL": "SASL", "TestAttackTLSInTheMiddle": "TLS in the middle",
		"TestAttackTokenOnPlainTCP": "token on plain TCP", "TestAttackKeyID": "key ID", "TestAttackNULByteInValue": "NUL byte in value", "TestAttackGuessInALoop": "guess in a loop",
	} {
		if got := (&attack{name: name}).title(); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestPage compares the page with the tests' comments.
func TestPage(t *testing.T) {
	attacks, untold, err := catalogue("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range untold {
		t.Error(err)
	}
	page, err := os.ReadFile("../docs/reference/attacks.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != list(attacks) {
		t.Error("docs/reference/attacks.md is not what the tests say: run go generate ./attack")
	}
}

// TestRun runs go test on attacks that need no database.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	held, err := run(t.Context(), []string{"-root", "..", "-run", "^TestAttack(NULByteInValue|AnnouncedLength)$"}, &out, io.Discard)
	if err != nil || !held || !strings.Contains(out.String(), "2 attacks on claimpool, 2 runs: 2 held") {
		t.Errorf("%v, %v\n%s", held, err, out.String())
	}
	for _, args := range [][]string{{"-target", "odyssey"}, {"-run", "("}, {"-run", "NoSuchAttack"}, {"-read", "no such file"}, {"-root", "no such folder"}, {"-what"}} {
		if _, err := run(t.Context(), append([]string{"-root", ".."}, args...), io.Discard, io.Discard); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

// TestResume: what has held is not run again, what was broken or was stopped in the middle is.
func TestResume(t *testing.T) {
	_, log := repository(t, breakIn, append(passed("TestAttackHeld/sql/pg15", "TestAttackHeld"), said("run", "TestAttackStopped", ""),
		said("run", "TestAttackBroken", ""), said("fail", "TestAttackBroken", ""), whole("fail", ""), `{"Action":"ru`)...)
	var attacks []*attack
	for _, name := range []string{"TestAttackHeld", "TestAttackStopped", "TestAttackBroken", "TestAttackNew"} {
		attacks = append(attacks, &attack{room: "proxy", name: name})
	}
	for range 2 { // the second time from what the first has kept
		rest, err := resume(log, attacks)
		if err != nil || len(rest) != 3 || rest[0].name != "TestAttackStopped" {
			t.Fatalf("%d to run, %v", len(rest), err)
		}
	}
	o, err := readResults(log)
	if err != nil || len(o.tests) != 3 || len(o.broken) != 0 || o.tests["proxy TestAttackHeld/sql/pg15"].action != "pass" {
		t.Errorf("kept %v, %v", o, err)
	}
	if rest, err := resume(filepath.Join(t.TempDir(), "new", "log.json"), attacks); err != nil || len(rest) != 4 {
		t.Errorf("without a file: %d to run, %v", len(rest), err)
	}
	var out bytes.Buffer
	arguments := []string{"-root", "..", "-run", "^TestAttackAnnouncedLength$", "-resume", filepath.Join(t.TempDir(), "log.json")}
	for _, want := range []string{"1 of 1, ", "1 of 1 attacks have held before"} {
		var progress bytes.Buffer
		if held, err := run(t.Context(), arguments, &out, &progress); err != nil || !held || !strings.Contains(progress.String(), want) {
			t.Errorf("%v, %v: %s", held, err, progress.String())
		}
	}
}
