package proxy_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

func TestMain(m *testing.M) {
	// The shared clusters end with the process.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/claimpool/claimpool/cluster.(*Cluster).start.func1"))
}

// patience is how long a test waits for what must come; a busy machine is slow.
const patience = time.Minute

// prompt bounds what must not wait for anything: less than all that it could wait for, and more than it takes on a busy machine.
const prompt = 8 * time.Second

// soon waits until ok, and fails when that takes too long.
func soon(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still waiting: %s", what)
		}
	}
}

// plain is a proxy in front of the shared cluster where everybody may log in.
type plain struct {
	*pgtest.Proxy
	options pgtest.ProxyOptions
	cluster *pgtest.Cluster
	role    string
}

func startPlain(t testing.TB, change func(*pgtest.ProxyOptions)) *plain {
	t.Helper()
	c := pgtest.Shared(t, pgtest.Newest(t))
	role, password := c.NewRole(t)
	return startOn(t, c, role, password, change)
}

// startOn is startPlain for a cluster of the test's own.
func startOn(t testing.TB, c *pgtest.Cluster, role, password string, change func(*pgtest.ProxyOptions)) *plain {
	t.Helper()
	f := &plain{cluster: c, role: role}
	f.options = pgtest.ProxyOptions{Cluster: c, Role: role, Password: password, Pool: pgtest.DefaultPool()}
	if change != nil {
		change(&f.options)
	}
	f.Proxy = pgtest.StartProxy(t, f.options)
	t.Cleanup(func() { checkLog(t, f.Proxy) })
	return f
}

// peer is a client that speaks the protocol by hand.
type peer struct {
	net.Conn
	t      testing.TB
	params map[string]string
	claim  string // what it sends in front of its questions, where no proxy brings the claims
	pid    uint32
	secret []byte
	own    bool // the test has set a deadline of its own
}

// SetDeadline and the next two are part of net.Conn.
func (p *peer) SetDeadline(t time.Time) error { p.own = true; return p.Conn.SetDeadline(t) }

func (p *peer) SetReadDeadline(t time.Time) error { p.own = true; return p.Conn.SetReadDeadline(t) }

func (p *peer) SetWriteDeadline(t time.Time) error { p.own = true; return p.Conn.SetWriteDeadline(t) }

// patient bounds what comes next, and not all that the test does: on a busy machine that takes minutes.
func (p *peer) patient() {
	if !p.own {
		p.Conn.SetDeadline(time.Now().Add(patience))
	}
}

// dial opens a connection without saying anything.
func (f *plain) dial(t testing.TB) *peer {
	t.Helper()
	p := f.open(t)
	t.Cleanup(func() { p.Conn.Close() })
	return p
}

// open is dial for those who close by themselves.
func (f *plain) open(t testing.TB) *peer {
	t.Helper()
	c, err := net.Dial("tcp", f.Address())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	return &peer{Conn: c, t: t}
}

// dialTLS is dial with TLS.
func (f *plain) dialTLS(t testing.TB) *peer { t.Helper(); return f.dial(t).secure(f) }

// secure begins TLS.
func (p *peer) secure(f *plain) *peer {
	t := p.t
	t.Helper()
	p.send(wire.AppendSSLRequest(nil))
	var yes [1]byte
	if _, err := p.Conn.Read(yes[:]); err != nil || yes[0] != 'S' {
		t.Fatalf("TLS refused: %q %v", yes, err)
	}
	p.Conn = tls.Client(p.Conn, &tls.Config{RootCAs: f.CA.Pool, ServerName: "localhost", NextProtos: []string{"postgresql"}})
	return p
}

// login is a client that is ready.
func (f *plain) login(t testing.TB, params ...[2]string) *peer {
	t.Helper()
	return f.dial(t).start(wire.Version30, f.role, params...).ready()
}

func (f *plain) loginTLS(t testing.TB, params ...[2]string) *peer {
	t.Helper()
	return f.dialTLS(t).start(wire.Version30, f.role, params...).ready()
}

// start sends the StartupMessage.
func (p *peer) start(version uint32, user string, params ...[2]string) *peer {
	p.t.Helper()
	list := [][2]string{{"user", user}}
	if !hasDatabase(params) {
		list = append(list, [2]string{"database", "postgres"})
	}
	p.send(wire.AppendStartup(nil, version, append(list, params...)))
	return p
}

func hasDatabase(params [][2]string) bool {
	for _, kv := range params {
		if kv[0] == "database" {
			return true
		}
	}
	return false
}

// ready expects the login to succeed.
func (p *peer) ready() *peer {
	p.t.Helper()
	if got := p.answer(); got != "R Z(I)" {
		p.t.Fatalf("login answered %s", got)
	}
	return p
}

func (p *peer) send(messages ...[]byte) {
	p.t.Helper()
	p.patient()
	if _, err := p.Write(bytes.Join(messages, nil)); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

func (p *peer) query(sql string) { p.t.Helper(); p.send(wire.AppendQuery(nil, sql)) }

// ask is query and answer.
func (p *peer) ask(sql string) string {
	p.t.Helper()
	p.query(sql)
	return p.answer()
}

// expect asks and compares the answer.
func (p *peer) expect(sql, want string) {
	p.t.Helper()
	if got := p.ask(sql); got != want {
		p.t.Errorf("%s\n got %s\nwant %s", sql, got, want)
	}
}

// one asks for a single value.
func (p *peer) one(sql string) string {
	p.t.Helper()
	got := p.put(sql)
	m := regexp.MustCompile(`^T D\((.*)\) C\(SELECT 1\) Z\(.\)$`).FindStringSubmatch(got)
	if m == nil {
		p.t.Fatalf("%s answered %s", sql, got)
	}
	return m[1]
}

// answer reads up to ReadyForQuery or the end of the connection, and writes it down: "T D(1) C(SELECT 1) Z(I)",
// "E(53300) Z(I)", "E(57P01 fatal) EOF". Parameters and keys are noted and left out.
func (p *peer) answer() string {
	p.t.Helper()
	p.patient()
	var got []string
	for {
		word, last := p.message()
		if word != "" {
			got = append(got, word)
		}
		if last {
			return strings.Join(got, " ")
		}
	}
}

// message reads one message and gives its word; last says that nothing follows without a request.
func (p *peer) message() (word string, last bool) {
	typ, body, err := wire.ReadMessage(p, 1<<20)
	if err != nil {
		var e net.Error
		if errors.As(err, &e) && e.Timeout() {
			return "TIMEOUT", true
		}
		return "EOF", true
	}
	switch typ {
	case wire.MsgReadyForQuery:
		return fmt.Sprintf("Z(%s)", body), true
	case wire.MsgErrorResponse:
		f, err := wire.ParseError(body)
		if err != nil {
			return "E(" + err.Error() + ")", false
		}
		if f.Severity == "FATAL" {
			return "E(" + f.Code + " fatal)", false
		}
		return "E(" + f.Code + ")", false
	case wire.MsgCommandComplete:
		tag, _ := wire.CommandTag(body)
		return "C(" + tag + ")", false
	case wire.MsgDataRow:
		row, _ := wire.ParseDataRow(body)
		return "D(" + strings.Join(row, ",") + ")", false
	case wire.MsgParameterStatus:
		if p.params == nil {
			p.params = map[string]string{}
		}
		name, value, _ := wire.ParseParameterStatus(body)
		p.params[name] = value
		return "", false
	case wire.MsgBackendKeyData:
		p.pid, p.secret, _ = wire.ParseBackendKeyData(body)
		return "", false
	}
	return string(typ), false
}

// gone expects the connection to end, whatever is said before.
func (p *peer) gone() string {
	p.t.Helper()
	got := p.answer()
	for !strings.HasSuffix(got, "EOF") {
		if strings.HasSuffix(got, "TIMEOUT") {
			p.t.Errorf("the connection goes on: %s", got)
			break
		}
		got += " " + p.answer()
	}
	return got
}

// leave says goodbye.
func (p *peer) leave() { p.send(wire.AppendTerminate(nil)); p.Close() }

var logKeys = map[string]bool{
	"time": true, "level": true, "msg": true,
	claimpool.LogClient: true, claimpool.LogAddr: true, claimpool.LogDB: true, claimpool.LogRole: true, claimpool.LogMethod: true,
	claimpool.LogIdentity: true, claimpool.LogIssuer: true, claimpool.LogKID: true, claimpool.LogPool: true, claimpool.LogServer: true,
	claimpool.LogSQLState: true, claimpool.LogReason: true, claimpool.LogWait: true, claimpool.LogHeld: true, claimpool.LogErr: true,
}

var logPair = regexp.MustCompile(`(?:^| )([A-Za-z_.]+)=("(?:[^"\\]|\\.)*"|[^ ]*)`)

// checkLog holds every log line of a proxy that has ended to the rules: the closed list of keys, and for each client one
// line when it is authenticated and one when it leaves.
func checkLog(t testing.TB, p *pgtest.Proxy) {
	t.Helper()
	p.Close()
	in, out := map[string]int{}, map[string]int{}
	for line := range strings.Lines(p.Log.String()) {
		pairs := map[string]string{}
		for _, m := range logPair.FindAllStringSubmatch(strings.TrimSuffix(line, "\n"), -1) {
			pairs[m[1]] = m[2]
			if !logKeys[m[1]] {
				t.Errorf("log key %q is not in the list: %s", m[1], line)
			}
		}
		switch pairs["msg"] {
		case `"connection authenticated"`:
			in[pairs["client"]]++
		case `"connection closed"`:
			out[pairs["client"]]++
			if pairs["reason"] == "" || pairs["held"] == "" || pairs["identity"] == "" {
				t.Errorf("something is missing: %s", line)
			}
		}
	}
	for client, n := range in {
		if n != 1 || out[client] != 1 {
			t.Errorf("client %s: %d lines of its login, %d of its end", client, n, out[client])
		}
	}
	if len(out) > len(in) {
		t.Errorf("%d clients came and %d left", len(in), len(out))
	}
}
