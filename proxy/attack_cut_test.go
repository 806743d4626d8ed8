package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

// behindValve starts a database and a proxy before it, with a valve on the way between them.
func behindValve(t *testing.T, start starter, change func(*pgtest.ProxyOptions)) (*tenants, *pgtest.Valve) {
	t.Helper()
	var v *pgtest.Valve
	return start(t, func(o *pgtest.ProxyOptions) {
		change(o)
		v = pgtest.StartValve(t, o.Cluster.Address())
		password := o.Password
		o.Server = &server.Config{
			Hosts: []string{v.Addr().String()}, Database: o.Database, ConnectTimeout: patience, TLS: server.TLS{Mode: server.ModeDisable},
			Password: func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(password), nil },
		}
	}), v
}

// ends gives, for each message of a type in b, where it ends.
func ends(b []byte, typ byte) (list []int) {
	for at := 0; ; {
		t, size, ok, err := wire.Header(b[at:])
		if !ok || err != nil || at+wire.HeaderLen+size > len(b) {
			return list
		}
		at += wire.HeaderLen + size
		if t == typ {
			list = append(list, at)
		}
	}
}

// TestAttackEndBetweenTwoPieces: the attacker sends requests without waiting, and says goodbye behind them, so that they might still be
// carried out when his token ends. It ends while an answer arrives in two pieces, which leaves the proxy with half a message of a
// server that nobody listens to any more.
//
// Must: He is told 28000, his server connection is closed, and the next client gets another one, and its own rows.
// Dialects: sql, native
// Not pgbouncer: it takes no tokens
func TestAttackEndBetweenTwoPieces(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f, v := behindValve(t, start, poolOf(1))
		b := f.connect(t, "t2")
		pid := backend(t, b)
		answers := map[string]int{sql: 2, native: 3}[f.dialect] // there is one to the proxy in between
		for name, cut := range map[string]func(kept []byte) int{
			"in the header of the next answer": func(kept []byte) int { return ends(kept, 'Z')[0] + 3 },
			"in the tag of the next answer":    func(kept []byte) int { return ends(kept, 'C')[1] - 4 },
		} {
			kept := []byte(nil)
			for life := int64(1); len(ends(kept, 'Z')) < answers; life *= 2 { // on a busy machine he may be too late
				a, end := f.ending(t, life)
				if got := a.ask(whoami); !strings.Contains(got, own("t1")) {
					continue
				}
				v.Shut()
				a.send(wire.AppendQuery(nil, "SELECT 1"), wire.AppendQuery(nil, "SELECT 2"), wire.AppendTerminate(nil))
				soon(t, "for the answers and for the end of the token", func() bool {
					kept = v.Kept()
					return time.Now().After(end)
				})
				if len(ends(kept, 'Z')) >= answers {
					v.Let(cut(kept))
					if got := everything(a); !strings.Contains(got, "E(28000 fatal)") {
						t.Errorf("%s: the attacker got %s", name, got)
					}
				}
				v.Open()
			}
			mustBe(t, b, "t2")
			got := backend(t, b)
			if got == pid {
				t.Errorf("%s: server connection %s was given back; the log: %s", name, pid, f.Log)
			}
			pid = got
		}
	})
}

// TestAttackGoodbyeInTheMiddleOfANotice: the attacker, or the server, says goodbye to a transaction, and the header of a notice has
// arrived by half.
//
// Must: The server connection is given back in step.
// Dialects: none
func TestAttackGoodbyeInTheMiddleOfANotice(t *testing.T) {
	t.Parallel()
	fake := startFake(t)
	f := startBefore(t, fake, nil)
	notice := frame('N', 4+1, "\x00")
	said := make(chan struct{})
	fake.misbehave(nil, func(c net.Conn, sql string) bool {
		switch {
		case strings.HasPrefix(sql, "RESET "):
			c.Write(wire.AppendReadyForQuery(bytes.Repeat(complete("RESET"), 1+strings.Count(sql, ";")), 'I'))
			return true
		case sql == "BEGIN":
			c.Write(append(wire.AppendReadyForQuery(complete("BEGIN"), 'T'), notice[:3]...))
			close(said)
			return true
		case sql == "ROLLBACK":
			c.Write(append(notice[3:], wire.AppendReadyForQuery(complete("ROLLBACK"), 'I')...))
			return true
		}
		return false
	})
	p := f.login(t)
	p.send(wire.AppendQuery(nil, "BEGIN"), wire.AppendTerminate(nil))
	<-said
	f.login(t).expect("next", "C(next) Z(I)")
	if n := fake.opened.Load(); n != 1 {
		t.Errorf("%d server connections were opened; the log: %s", n, f.Log)
	}
}

// TestAttackCancelWhatHasGoneAlong: in the native dialect a client's request follows the hand-over in the same write, and the
// answers come together. The attacker cancels his own request while it is there, so that he is answered for something that runs
// all the same, or that his cancel hits the next one on the server.
//
// Must: What runs is stopped, with PostgreSQL's own answer; what has run is answered as it is, and the next client is not disturbed.
// Dialects: native
// Not sql: no request goes along with a hand-over
// Not pgbouncer: it has no hand-overs
func TestAttackCancelWhatHasGoneAlong(t *testing.T) {
	eachDialect(t, []string{native}, func(t *testing.T, start starter) {
		f, v := behindValve(t, start, poolOf(1))
		f.cluster.Exec(t, f.database, "CREATE TABLE done (what text); GRANT ALL ON done TO PUBLIC")
		a, b, admin := f.raw(t, "t1"), f.raw(t, "t2"), f.admin(t)
		a.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
		b.query("INSERT INTO done VALUES ('running'); SELECT pg_sleep(60)")
		f.busy(t)
		cancelOnce(f, b.pid, b.secret)
		if got := b.answer(); got != "C(INSERT 0 1) T E(57014) Z(I)" {
			t.Errorf("what was running is answered %s", got)
		}
		if got := value(t, admin, "SELECT count(*)::text FROM pg_stat_activity WHERE state = 'active' AND usename = $1", f.role); got != "0" {
			t.Error("it goes on all the same")
		}

		a.expect("SELECT 2", "T D(2) C(SELECT 1) Z(I)")
		v.Shut()
		b.query("INSERT INTO done VALUES ('answered')")
		soon(t, "for the request to have run", func() bool {
			return value(t, admin, "SELECT coalesce(string_agg(what, ' '), '') FROM done") == "answered"
		})
		cancelOnce(f, b.pid, b.secret)
		v.Open()
		if got := b.answer(); got != "C(INSERT 0 1) Z(I)" {
			t.Errorf("what had run is answered %s", got)
		}
		a.expect("SELECT count(*) FROM done", "T D(1) C(SELECT 1) Z(I)")
	})
}

// TestAttackRequestInsideANotification: the attacker notifies a session of what it listens to, and the network cuts the message. The
// session's next request comes between the two halves, for PostgreSQL or for the proxy itself.
//
// Must: Nothing comes between them, and the request is answered behind it.
// Dialects: sql, native
// Not pgbouncer: only its transaction mode is compared
func TestAttackRequestInsideANotification(t *testing.T) {
	eachDialect(t, []string{sql, native}, func(t *testing.T, start starter) {
		f, v := behindValve(t, start, inMode(pool.Session, 1))
		requestInsideANotification(t, f, v)
		if f.dialect == sql { // and where a new seal comes before the request
			f, v = behindValve(t, start, func(o *pgtest.ProxyOptions) {
				inMode(pool.Session, 1)(o)
				window(o, 20*time.Millisecond)
			})
			requestInsideANotification(t, f, v)
		}
	})
}

func requestInsideANotification(t *testing.T, f *tenants, v *pgtest.Valve) {
	t.Helper()
	p, admin := f.raw(t, "t1"), f.admin(t)
	p.expect("LISTEN news", "C(LISTEN) Z(I)")
	const length = 1 + 4 + 4 + len("news\x00") + 1000 + 1
	for _, cut := range []int{3, 5, 10, length - 1} {
		for request, answer := range map[string]string{
			"SELECT 'mine'": "T D(mine) C(SELECT 1) Z(I)",
			"SET jwt.context = '" + f.token("t1") + "'": "C(SET) Z(I)",
			"SET jwt.context = 'no token'":              "E(42601) Z(I)",
			"SET jwt.context = 'e30.e30.e30'":           "E(28000) Z(I)",
		} {
			v.Shut()
			run(t, admin, "NOTIFY news, '"+strings.Repeat("x", 1000)+"'")
			soon(t, "for the notification", func() bool { return len(v.Kept()) == length })
			v.Let(cut)
			half := make([]byte, cut)
			if cut >= wire.HeaderLen { // otherwise the proxy waits for more
				if _, err := io.ReadFull(p, half); err != nil {
					t.Fatal(err)
				}
			} else {
				half = nil
			}
			p.query(request)
			half = append(half, p.meanwhile(func() bool { return len(v.Kept()) > length-cut })...)
			v.Open()
			p.Conn = &unread{Conn: p.Conn, first: half}
			if got := p.answer(); got != "A "+answer && got != answer { // the proxy's own answer may come first
				t.Fatalf("%d bytes of the notification, then %.30s…: %s", cut, request, got)
			} else if got == answer {
				if word, _ := p.message(); word != "A" || cut >= wire.HeaderLen {
					t.Fatalf("%d bytes of the notification, then %.30s…: %s %s", cut, request, got, word)
				}
			}
		}
	}
	p.leave()
}

// meanwhile gives what comes within a moment, or until ok.
func (p *peer) meanwhile(ok func() bool) (b []byte) {
	p.t.Helper()
	buf := make([]byte, 1<<10)
	for range 10 {
		p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := p.Read(buf)
		b = append(b, buf[:n]...)
		var e net.Error
		if err != nil && !(errors.As(err, &e) && e.Timeout()) {
			b = fmt.Appendf(b, "%v", err)
			break
		}
		if ok() {
			break
		}
	}
	p.SetReadDeadline(time.Now().Add(patience))
	return b
}

// unread is a connection of which something has been read too early.
type unread struct {
	net.Conn
	first []byte
}

func (u *unread) Read(b []byte) (int, error) {
	if len(u.first) > 0 {
		n := copy(b, u.first)
		u.first = u.first[n:]
		return n, nil
	}
	return u.Conn.Read(b)
}
