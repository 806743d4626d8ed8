package claimpool_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/claimpool/claimpool"

// room is a package, by its folder.
type room struct {
	ours  string // which of our packages it may import, by their folders; "root" is the dictionary, "*" is all
	never string // what of the standard library and the language it must not touch; see bans
	why   string // the reason, as the failure says it
}

// rooms are all packages of the module. Whoever adds one says here what it may know. (docs: ARCHITECTURE.md)
var rooms = map[string]room{
	"root":     {"", "world chance", "it is the dictionary that all others share, so it cannot depend on any of them"},
	"wire":     {"root", "world chance log", "it knows bytes, not sockets, so that every message is a table test"},
	"scram":    {"", "world chance log clock", "it is two pure state machines, so that every attack on them is a table test"},
	"token":    {"root", "world chance log clock", "it decides over values alone, so that every attack on it is a table test; keys and the clock are given to it"},
	"pool":     {"root", "world chance log clock", "it decides who gets a server, and its owner acts; it knows no sockets and no protocol"},
	"feature":  {"", "world chance log clock", "it reads texts of SQL and names of channels alone, so that every attack on it is a table test"},
	"prepared": {"root wire", "world chance log clock", "it rewrites names over bytes alone, so that every attack on it is a table test; randomness is given to it"},
	"relay":    {"root wire prepared feature", "world chance log clock", "whoever moves bytes cannot mint identity: bytes go in, actions come out"},
	"trusted":  {"root wire feature", "world chance log clock", "it writes the bytes that make a server trust us; what it cannot reach cannot change them"},
	"mapping":  {"", "world chance log clock", "it evaluates expressions over claims, and nothing else reaches them: not who asks, not the time, not the machine"},
	"fetch":    {"", "log", "it asks one address within bounds, and does not know what for"},
	"keyset":   {"root token fetch", "log", "it finds keys, and does not know what a token claims or who asks"},
	"judge":    {"root token fetch", "log", "it asks others for their judgement; who asks, and what follows from it, is not its business"},
	"startup":  {"root wire", "log", "it reads the bytes of strangers; it must not be able to believe who they say they are"},
	"auth":     {"root wire scram token", "log", "nothing is spent on a client before it is proved: auth never sees a pool or a server"},
	"server":   {"root wire scram", "log", "it logs in as the permanent role, and does not know clients or identities; whoever moves bytes cannot mint identity"},
	"loop":     {"", "log", "it moves the bytes of any protocol; whoever moves bytes cannot mint identity"},
	"proxy": {"root wire scram token startup auth server pool trusted prepared feature relay loop", "",
		"it is the order of things; keys and settings are brought to it, so that it runs without files"},
	"config":     {"mapping feature", "log", "settings are declared apart from what runs, so that check and explain work anywhere; expressions are checked with them"},
	"admin":      {"root wire revocation", "", "it shows and steers through interfaces of its own, and does not know how the proxy works inside"},
	"revocation": {"root", "log", "it knows who has been signed out, and neither tokens nor clients: how a session ends is not its business"},
	"audit":      {"root", "", "it records what it is told"},
	"doctor":     {"root", "log", "it looks at a database alone"},
	"database":   {"root", "log", "what runs inside PostgreSQL is the same whoever installs it"},
	"cluster":    {"", "log", "it starts PostgreSQL for demos and tests, and does not know what for"},

	"credential":    {"root fetch", "log", "it gets secrets from those who keep them, and does not know what they open"},
	"cmd/claimpool": {"*", "", "flags and wiring"},
	"pgtest":        {"*", "", "the test harness"},
	"simulation":    {"root wire pool relay trusted", "log clock", "it is the rooms that decide, between simulated clients and servers: what it cannot reach cannot differ from one run to the next"},

	"attack": {"", "log", "it reads what the tests say of themselves; knowing more, it could be wrong with them"},

	"bench":        {"bench/epoll bench/fakepg bench/load bench/pgmsg bench/proc cluster database", "log", "a benchmark that shares code with its subject shares its mistakes; it installs the SQL dialect as a user would"},
	"bench/epoll":  {"", "log", "it is the thinnest layer over the system"},
	"bench/fakepg": {"bench/epoll bench/pgmsg", "log", "a benchmark that shares code with its subject shares its mistakes"},
	"bench/load":   {"bench/epoll bench/pgmsg bench/proc", "log", "a benchmark that shares code with its subject shares its mistakes"},
	"bench/pgmsg":  {"", "world chance log", "a benchmark that shares code with its subject shares its mistakes"},
	"bench/proc":   {"", "log", "it reads /proc"},
}

// testRooms hold tests alone, and their rows hold for those.
var testRooms = []string{"simulation"}

// importers limits who may import some of our packages, whatever their own row says.
var importers = map[string]struct{ rooms, why string }{
	"proxy":  {"cmd/claimpool pgtest", "proxy is the end of all arrows: what others need of it belongs into a room of its own"},
	"pgtest": {"", "pgtest is for tests only: nothing of it may reach a user"},
}

// bans are the words of room.never: import paths, and names of package time.
var bans = map[string]struct {
	imports []string
	names   []string // of package time
	instead string
}{
	"world":  {imports: []string{"net", "net/http", "os", "os/exec", "os/signal", "os/user", "syscall", "crypto/tls", "golang.org/x/sys/unix", "database/sql"}, instead: "take the bytes as a parameter"},
	"chance": {imports: []string{"crypto/rand", "math/rand", "math/rand/v2"}, instead: "take the randomness as a parameter or a field"},
	"log":    {imports: []string{"log", "log/slog"}, instead: "return the error: it is logged once, by whoever decides what it means (CONVENTIONS 10)"},
	"clock": {names: []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
		instead: "take the moment as a parameter, or a clock as a field"},
}

// modules are all modules that are not ours, with the rooms whose code may import them; tests is for tests anywhere.
// The default answer to a new one is no. The wire, the pool and the context are our own; for the rest a well-kept library
// beats our own code.
var modules = map[string]struct{ rooms, why string }{
	"github.com/go-jose/go-jose/v4":    {"token keyset tests", "JOSE, under the rules of package token"},
	"github.com/go-ldap/ldap/v3":       {"judge", "LDAP; it brings two small modules and golang.org/x/crypto, and what is used of it (bind, search, STARTTLS) is none of NTLM"},
	"github.com/go-asn1-ber/asn1-ber":  {"tests", "the bytes of a false directory"},
	"github.com/google/cel-go":         {"mapping", "CEL, the expressions of Kubernetes' structured authentication: typed, without side effects, with a limit on their cost"},
	"github.com/goccy/go-yaml":         {"config", "YAML with the place of every node, for messages"},
	"github.com/alecthomas/kong":       {"cmd/claimpool", "the command line"},
	"github.com/jackc/pgx/v5":          {"database revocation audit cmd/claimpool pgtest bench tests", "to talk to PostgreSQL outside of the proxy's path, and as an oracle"},
	"github.com/xdg-go/stringprep":     {"scram", "SASLprep (RFC 4013)"},
	"github.com/coreos/go-systemd/v22": {"cmd/claimpool", "tells systemd that we are ready"},
	"golang.org/x/sys":                 {"loop proxy server cmd/claimpool tests", "system calls that package syscall has not"},
	"golang.org/x/text":                {"scram", "Unicode normal forms, for SASLprep"},
	"github.com/xdg-go/scram":          {"tests", "an independent SCRAM to compare with"},
	"github.com/google/go-cmp":         {"tests", "readable differences"},
	"github.com/rogpeppe/go-internal":  {"tests", "testscript: command lines as tests"},
	"go.uber.org/goleak":               {"tests", "finds goroutines that tests leave behind"},
	"pgregory.net/rapid":               {"tests", "property tests"},

	"github.com/prometheus/client_golang": {"admin", "the metrics of Prometheus, with those of the Go runtime and the process: a format with its escapes, which scrapers of all ages must read"},
}

const (
	maxFileLines     = 600
	maxFunctionLines = 70
)

// longFunctions may be longer than maxFunctionLines: bare tables and switches, which grow with what they list.
var longFunctions = map[string]string{}

// source is one Go file of the module.
type source struct {
	name   string // "wire/reply.go"
	room   string
	test   bool
	syntax *ast.File
	set    *token.FileSet
}

// sources reads all Go files of the module.
func sources(t *testing.T) []*source {
	t.Helper()
	var list []*source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			other := name != "." && exists(filepath.Join(name, "go.mod")) // a module of its own, such as an example
			if other || name != "." && strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || base == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		s := &source{name: filepath.ToSlash(name), test: strings.HasSuffix(name, "_test.go"), set: token.NewFileSet()}
		if s.room = path.Dir(s.name); s.room == "." {
			s.room = "root"
		}
		s.syntax, err = parser.ParseFile(s.set, name, nil, parser.ParseComments)
		list = append(list, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// line says where in a file something is.
func (s *source) line(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.name, s.set.Position(n.Pos()).Line)
}

// imports gives the import paths of a file with their places.
func (s *source) imports(yield func(path, place string) bool) {
	for _, i := range s.syntax.Imports {
		if !yield(strings.Trim(i.Path.Value, `"`), s.line(i)) {
			return
		}
	}
}

func TestEveryPackageHasARoom(t *testing.T) {
	for _, s := range sources(t) {
		if _, ok := rooms[s.room]; !ok && !s.test {
			t.Errorf("%s: package %s is not listed in house_test.go: say there what it may import, and why it is a room of its own", s.name, s.room)
		}
		for _, part := range strings.Split(s.room, "/") {
			if slices.Contains(strings.Fields("util utils common helper helpers misc base shared types models internal pkg lib"), part) {
				t.Errorf("%s: a package is named after what it knows; %q says nothing (CONVENTIONS 2)", s.name, part)
			}
		}
	}
}

func TestArrowsBetweenOurPackages(t *testing.T) {
	for _, s := range sources(t) {
		if s.test && !slices.Contains(testRooms, s.room) {
			continue
		}
		for imported, place := range s.imports {
			to, ok := strings.CutPrefix(imported+"/", module+"/")
			if !ok {
				continue
			}
			if to = strings.TrimSuffix(to, "/"); to == "" {
				to = "root"
			}
			from := rooms[s.room]
			if from.ours != "*" && !slices.Contains(strings.Fields(from.ours), to) {
				t.Errorf("%s: %s must not import %s: %s", place, s.room, to, from.why)
			}
			if limit, ok := importers[to]; ok && !slices.Contains(strings.Fields(limit.rooms), s.room) {
				t.Errorf("%s: %s must not import %s: %s", place, s.room, to, limit.why)
			}
		}
	}
}

func TestRoomsThatDecideDoNotTouchTheWorld(t *testing.T) {
	for _, s := range sources(t) {
		if s.test && !slices.Contains(testRooms, s.room) {
			continue
		}
		for _, word := range strings.Fields(rooms[s.room].never) {
			ban, ok := bans[word]
			if !ok {
				t.Fatalf("house_test.go: %q is no ban", word)
			}
			for imported, place := range s.imports {
				if imported == "log/slog" && s.room == "root" {
					continue // the dictionary has the types that hide secrets from logs
				}
				if slices.Contains(ban.imports, imported) {
					t.Errorf("%s: %s must not import %s: %s; %s", place, s.room, imported, rooms[s.room].why, ban.instead)
				}
			}
			ast.Inspect(s.syntax, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if ok && slices.Contains(ban.names, sel.Sel.Name) && isPackage(sel.X, "time") {
					t.Errorf("%s: %s must not use time.%s: %s; %s", s.line(n), s.room, sel.Sel.Name, rooms[s.room].why, ban.instead)
				}
				return true
			})
		}
	}
}

func isPackage(x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name && id.Obj == nil
}

func TestOutsideModules(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		for imported, place := range s.imports {
			if imported == "C" {
				t.Errorf("%s: no CGO: a fault in C would end the proxy, and cross-compiling would end too", place)
			}
			if imported == module || strings.HasPrefix(imported, module+"/") || !strings.Contains(strings.Split(imported, "/")[0], ".") {
				continue
			}
			name := moduleOf(imported)
			used[name] = true
			m, ok := modules[name]
			allowed := slices.Contains(strings.Fields(m.rooms), s.room) || s.test && slices.Contains(strings.Fields(m.rooms), "tests")
			switch {
			case !ok:
				t.Errorf("%s: %s is of no module that house_test.go lists: the default answer to a new one is no; list it there with its room and the reason", place, imported)
			case !allowed:
				t.Errorf("%s: %s must not import %s: it is for %s (%s)", place, s.room, name, m.rooms, m.why)
			}
		}
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1) {
		if _, ok := modules[m[1]]; !ok {
			t.Errorf("go.mod: %s is required directly, but house_test.go does not list it", m[1])
		}
	}
}

// moduleOf finds the listed module that a package belongs to.
func moduleOf(imported string) string {
	for name := range modules {
		if imported == name || strings.HasPrefix(imported, name+"/") {
			return name
		}
	}
	return imported
}

func TestEveryPackageSaysWhatItDoesAndWhatItDoesNotKnow(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		comments[s.room] = append(comments[s.room], "")
		if s.syntax.Doc == nil {
			continue
		}
		text := strings.Join(strings.Fields(s.syntax.Doc.Text()), " ")
		comments[s.room] = append(comments[s.room], text)
		begin := "Package " + s.syntax.Name.Name + " "
		if s.syntax.Name.Name == "main" {
			begin = "Command " + path.Base(s.room) + " "
		}
		if !strings.HasPrefix(text, begin) {
			t.Errorf("%s: the package comment must begin with %q", s.name, begin)
		}
		if !regexp.MustCompile(`\bknows?\b`).MatchString(text) {
			t.Errorf("%s: the package comment must also say what the package does not know: that is what makes it a room", s.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(comments)) {
		if n := len(slices.DeleteFunc(comments[name], func(text string) bool { return text == "" })); n != 1 {
			t.Errorf("package %s has %d package comments, not one", name, n)
		}
	}
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if ast.IsGenerated(s.syntax) {
			continue
		}
		if n := s.set.File(s.syntax.Pos()).LineCount(); n > maxFileLines {
			t.Errorf("%s has %d lines, more than %d: it holds more than one idea; give each a file", s.name, n, maxFileLines)
		}
		for _, d := range s.syntax.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := s.length(f); n > maxFunctionLines && longFunctions[s.room+"."+f.Name.Name] == "" {
				t.Errorf("%s: %s has %d lines, more than %d: a stranger should see a function whole", s.line(f), f.Name.Name, n, maxFunctionLines)
			}
		}
	}
}

// length counts the lines of a function. In tests the rows of tables do not count.
func (s *source) length(f *ast.FuncDecl) int {
	lines := func(n ast.Node) int { return s.set.Position(n.End()).Line - s.set.Position(n.Pos()).Line }
	n := lines(f) + 1
	if s.test {
		ast.Inspect(f, func(x ast.Node) bool {
			if table, ok := x.(*ast.CompositeLit); ok {
				n -= lines(table)
				return false
			}
			return true
		})
	}
	return n
}

// TestTestsDoNotHide refuses two habits: tests that skip in silence, and tests that wait for luck.
func TestTestsDoNotHide(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if loop, ok := n.(*ast.ForStmt); ok && loop.Cond != nil {
				return false // it waits for an event in another process
			}
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch {
			case slices.Contains(strings.Fields("Skip Skipf SkipNow"), sel.Sel.Name) && isParameter(sel.X):
				t.Errorf("%s: a test that skips proves nothing and looks green; fail, and say what to install (CONVENTIONS 23)", s.line(n))
			case sel.Sel.Name == "Sleep" && isPackage(sel.X, "time") && !s.has("testing/synctest"):
				t.Errorf("%s: a test that sleeps is slow when it passes and wrong when the machine is busy: wait for the event, or use testing/synctest (CONVENTIONS 28)", s.line(n))
			}
			return true
		})
	}
}

// has reports whether a file imports a package.
func (s *source) has(imported string) bool {
	return slices.ContainsFunc(s.syntax.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"`+imported+`"` })
}

func isParameter(x ast.Expr) bool {
	id, ok := x.(*ast.Ident)
	return ok && slices.Contains([]string{"t", "tb", "b", "f"}, id.Name)
}
