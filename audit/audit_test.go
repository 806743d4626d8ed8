package audit_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/audit"
)

func TestMain(m *testing.M) {
	// The shared clusters end with the process.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/claimpool/claimpool/cluster.(*Cluster).start.func1"))
}

// sink is a writer that can be made to fail, or to wait.
type sink struct {
	mu   sync.Mutex
	buf  strings.Builder
	fail error
	gate chan struct{} // each write takes one; nil: none waits
}

func (s *sink) Write(b []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	return s.buf.Write(b)
}

func (s *sink) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still waiting: %s", what)
		}
	}
}

// lines takes a stream apart.
func lines(t *testing.T, r io.Reader) (list []map[string]any) {
	t.Helper()
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		var m map[string]any
		if err := json.Unmarshal(scan.Bytes(), &m); err != nil {
			t.Fatalf("not a line: %s", scan.Text())
		}
		list = append(list, m)
	}
	return list
}

func identity(subject string) *claimpool.Identity {
	id := claimpool.NewIdentity(claimpool.MethodJWT, "https://id.example.com", subject, "app", claimpool.Claims(`{"secret":"claim"}`), nil, time.Time{})
	id.Proof, id.Rule, id.Token = claimpool.NewProof(id.Issuer, "j1", "", time.Now(), subject), "people", claimpool.Secret("raw-token")
	return id
}

func TestAnEventIsOneLine(t *testing.T) {
	out := new(sink)
	s := audit.New(out, audit.Options{Queue: 10})
	if err := s.Record(&claimpool.Event{
		Kind: claimpool.EventLogin, Client: 7, Addr: "192.0.2.1:5", Database: "shop", User: "app", Identity: identity("ann"), Held: time.Second,
	}); err != nil {
		t.Fatal(err)
	}
	s.Record(&claimpool.Event{Kind: claimpool.EventRefusal, Code: claimpool.CodeInvalidPassword, Reason: "why"})
	s.Close()
	if err := s.Record(&claimpool.Event{Kind: claimpool.EventEnd}); !errors.Is(err, audit.ErrFull) {
		t.Errorf("behind the end: %v", err)
	}
	list := lines(t, strings.NewReader(out.String()))
	if len(list) != 2 {
		t.Fatal(out.String())
	}
	hash := claimpool.NewMark(claimpool.MarkToken, "https://id.example.com", "j1")
	for key, want := range map[string]any{
		"event": "login", "client": 7.0, "addr": "192.0.2.1:5", "db": "shop", "user": "app", "role": "app", "method": "jwt", "rule": "people",
		"iss": "https://id.example.com", "sub": "ann", "token_hash": fmt.Sprintf("%x", hash[:]), "held": "1s",
	} {
		if list[0][key] != want {
			t.Errorf("%s: %v, want %v", key, list[0][key], want)
		}
	}
	if list[0]["time"] == nil || list[0]["level"] != nil || list[1]["sqlstate"] != "28P01" || list[1]["client"] != nil {
		t.Errorf("%v", list)
	}
}

// TestAttackAuditInjection: the attacker chooses his subject, user name and database, and with them what the stream says of him: line
// breaks, quotation marks, control characters, bytes that are no UTF-8, words that look like another event.
//
// Must: Each event must be one line of JSON whose fields are its own; nothing of a token or of another claim is in it.
// Dialects: none
func TestAttackAuditInjection(t *testing.T) {
	out := new(sink)
	s := audit.New(out, audit.Options{Queue: 1000})
	evil := []string{
		"ann\n{\"event\":\"login\",\"sub\":\"root\"}", "ann\r\n", "ann\",\"sub\":\"root", "ann\x00\x1b[2J", "ann\u2028\u2029", "\xff\xfe", "{{.}}", "\\\"", strings.Repeat("\n", 255), "ann\u202egpj.exe", "\u009b2J",
	}
	for _, name := range evil {
		s.Record(&claimpool.Event{Kind: claimpool.EventLogin, Client: 1, Identity: identity(name), User: name, Database: name, Reason: name})
	}
	s.Close()
	list := lines(t, strings.NewReader(out.String()))
	if len(list) != len(evil) {
		t.Fatalf("%d lines of %d events", len(list), len(evil))
	}
	for i, l := range list {
		if l["event"] != "login" || len(l) != 12 || l["sub"] != strings.ToValidUTF8(evil[i], "\ufffd") && l["sub"] != "\ufffd\ufffd" {
			t.Errorf("%q became %v", evil[i], l)
		}
	}
	if strings.ContainsFunc(strings.ReplaceAll(out.String(), "\n", ""), claimpool.Steers) {
		t.Error("it steers terminals")
	}
	for _, word := range []string{"raw-token", "claim\"", "\x1b", "\x00"} {
		if strings.Contains(out.String(), word) {
			t.Errorf("it holds %q", word)
		}
	}
}

// heap is how much memory is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAttackAuditFlood: the attacker fails to log in as often as he can, under the longest names that there is room for, so that the stream fills up, while somebody else logs in.
//
// Must: Neither where lost events are counted nor where they refuse may the other be refused for it, and memory stays bounded.
// Dialects: none
func TestAttackAuditFlood(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		out := &sink{gate: make(chan struct{})}
		s := audit.New(out, audit.Options{Queue: 100, Refuse: refuse})
		before := heap()
		for range 10_000 {
			long := strings.Repeat("x", 10_000) // a start-up message has room for it
			if err := s.Record(&claimpool.Event{Kind: claimpool.EventRefusal, User: long, Database: long, Reason: long}); err != nil {
				t.Fatal(err)
			}
		}
		if grown := heap() - before; grown > 1<<20 {
			t.Errorf("memory has grown by %d bytes", grown)
		}
		for _, kind := range []claimpool.EventKind{claimpool.EventHandover, claimpool.EventTransaction} {
			if err := s.Record(&claimpool.Event{Kind: kind}); err != nil {
				t.Errorf("refuse %t: %v", refuse, err)
			}
		}
		if err := s.Record(&claimpool.Event{Kind: claimpool.EventLogin}); err != nil {
			t.Errorf("refuse %t: %v", refuse, err)
		}
		if s.Lost() < 5000 {
			t.Errorf("%d are lost", s.Lost())
		}
		for range 200 {
			s.Record(&claimpool.Event{Kind: claimpool.EventLogin})
		}
		if err := s.Record(&claimpool.Event{Kind: claimpool.EventLogin}); (err != nil) != refuse {
			t.Errorf("refuse %t, and full: %v", refuse, err)
		}
		if st := s.Stats(); st.Waiting == 0 || st.Waiting > st.Queue || st.Queue != 100 || st.Failing {
			t.Errorf("refuse %t, and full: %+v", refuse, st)
		}
		close(out.gate)
		s.Close()
		const all = 10_000 + 2 + 1 + 200 + 1
		if st := s.Stats(); st.Written+st.Lost != all || st.Lost != s.Lost() || st.Waiting != 0 {
			t.Errorf("refuse %t: %d events, and %+v", refuse, all, st)
		}
	}
}

func TestAStreamThatCannotBeWritten(t *testing.T) {
	var reports []string
	var mu sync.Mutex
	report := func(err error, lost uint64) {
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, fmt.Sprint(err))
	}
	for _, refuse := range []bool{false, true} {
		reports = nil
		out := new(sink)
		out.set(errors.New("disk full"))
		s := audit.New(out, audit.Options{Queue: 100, Refuse: refuse, Report: report})
		s.Record(&claimpool.Event{Kind: claimpool.EventLogin, Client: 1})
		soon(t, "the report", func() bool { mu.Lock(); defer mu.Unlock(); return len(reports) == 1 })
		if err := s.Record(&claimpool.Event{Kind: claimpool.EventLogin, Client: 2}); (err != nil) != refuse {
			t.Errorf("refuse %t: %v", refuse, err)
		}
		out.set(nil)
		soon(t, "it works again", func() bool {
			return s.Record(&claimpool.Event{Kind: claimpool.EventLogin, Client: 3}) == nil && strings.Contains(out.String(), `"client":3`)
		})
		s.Close()
		if first := strings.Contains(out.String(), `"client":1,`) || strings.Contains(out.String(), `"client":1}`); first != refuse {
			t.Errorf("refuse %t: %s", refuse, out.String())
		}
		if len(reports) != 2 || reports[1] != "<nil>" {
			t.Errorf("%q", reports)
		}
	}
}

func TestFilesRotateAndAreOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f, err := audit.OpenFile(path, 100, 2)
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			return "none"
		}
		return string(b)
	}
	put := func(word string) {
		t.Helper()
		if _, err := io.WriteString(f, strings.Repeat(word, 59)+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	for _, word := range []string{"a", "b", "c", "d"} {
		put(word)
	}
	for name, first := range map[string]string{path: "d", path + ".1": "c", path + ".2": "b", path + ".3": "n"} {
		if got := read(name); got[:1] != first {
			t.Errorf("%s begins with %s", name, got[:1])
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "e\n")
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "f\n")
	if got := read(path + ".moved"); !strings.HasSuffix(got, "\ne\n") || read(path) != "f\n" {
		t.Errorf("%q, then %q", got, read(path))
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	again, err := audit.OpenFile(path, 0, 0) // goes on behind what is there
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(again, "g\n")
	if again.Close(); read(path) != "f\ng\n" {
		t.Error(read(path))
	}
	if _, err := audit.OpenFile(filepath.Join(path, "x"), 0, 0); err == nil {
		t.Error("a file below a file")
	}
}

// TestAttackAuditTransactionFlood: the attacker, who may log in, runs as many transactions as he can while all are recorded, so that nothing
// else is.
//
// Must: Neither logins of others nor refusals may be lost for it, and nobody may be refused.
// Dialects: none
func TestAttackAuditTransactionFlood(t *testing.T) {
	out := &sink{gate: make(chan struct{})}
	s := audit.New(out, audit.Options{Queue: 100, Refuse: true})
	for range 10_000 {
		if err := s.Record(&claimpool.Event{Kind: claimpool.EventTransaction, Outcome: claimpool.OutcomeCommit, Identity: identity("eve")}); err != nil {
			t.Fatal(err)
		}
	}
	before := s.Lost()
	for range 10 {
		if err := s.Record(&claimpool.Event{Kind: claimpool.EventLogin}); err != nil {
			t.Fatal(err)
		}
		s.Record(&claimpool.Event{Kind: claimpool.EventRefusal})
	}
	if s.Lost() != before {
		t.Errorf("%d are lost", s.Lost()-before)
	}
	close(out.gate)
	s.Close()
}

// TestAttackAuditTokenAsName: the attacker reads the stream, and hopes for people who have typed their token where the user name, or the
// name of a database, belongs.
//
// Must: No event may hold what looks like a token, however long it is; what stands beside it stays.
// Dialects: none
func TestAttackAuditTokenAsName(t *testing.T) {
	out := new(sink)
	s := audit.New(out, audit.Options{Queue: 10})
	signed, long := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl", "eyJhbGciOiJIUzI1NiJ9."+strings.Repeat("eyJzdWIi", 500)+".c2lnbmF0dXJl"
	encrypted := "eyJhbGciOiJSU0EifQ.a2V5.aXY.dGV4dA.dGFn"
	s.Record(&claimpool.Event{Kind: claimpool.EventRefusal, User: signed, Database: "shop " + long, Reason: "no rule for user \"" + encrypted + "\", database \"shop\""})
	s.Close()
	list := lines(t, strings.NewReader(out.String()))
	if len(list) != 1 || list[0]["user"] != "redacted" || list[0]["db"] != "shop redacted" || list[0]["reason"] != "no rule for user \"redacted\", database \"shop\"" {
		t.Errorf("%v", list)
	}
}
