package admin_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/admin"
	"github.com/claimpool/claimpool/revocation"
	"github.com/claimpool/claimpool/wire"
)

// desk is a console with one client at the other end of a pipe.
type desk struct {
	*admin.Console
	t      *testing.T
	conn   net.Conn
	right  admin.Right
	events []string
	made   []revocation.Entry
	fail   error // of the table, the pools and the reload
	lost   error // of the audit stream
	end    context.CancelCauseFunc
	over   chan string
	killed string     // what was asked for last
	mu     sync.Mutex // for events
}

// Record is part of claimpool.Auditor.
func (d *desk) Record(e *claimpool.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.Kind, e.User, e.Reason, e.Code)))
	return d.lost
}

// Revoke is part of admin.Revocations.
func (d *desk) Revoke(_ context.Context, list []revocation.Entry, _ *claimpool.Mark) error {
	d.made = append(d.made, list...)
	return d.fail
}

// Undo is part of admin.Revocations.
func (d *desk) Undo(_ context.Context, id int64, reason string) error {
	d.killed = fmt.Sprintf("%d %s", id, reason)
	if err, ok := map[int64]error{404: revocation.ErrUnknown, 8: revocation.ErrUndone, 9: revocation.ErrByIssuer}[id]; ok {
		return err
	}
	return d.fail
}

// List is part of admin.Revocations.
func (d *desk) List(context.Context) ([]revocation.Entry, error) { return d.made, d.fail }

// Pools is part of admin.Pools.
func (d *desk) Pools(context.Context) ([]admin.Pool, error) {
	return []admin.Pool{{Database: "app\x1b[2J", Role: "r", Mode: "session"}}, d.fail
}

// Reload is part of admin.Running.
func (d *desk) Reload(string) error { return d.fail }

// Clients is part of admin.Roster.
func (d *desk) Clients(context.Context, int) ([]admin.Client, bool, error) {
	id := claimpool.NewIdentity(claimpool.MethodJWT, "i", "ann", "r", claimpool.Claims(`{"secret": 1}`), nil, noon)
	return []admin.Client{{Number: 7, Addr: "a:1", Database: "app", Role: "r", Identity: id, Doing: "idle", Login: noon, Idle: time.Minute}}, true, d.fail
}

// Servers is part of admin.Roster.
func (d *desk) Servers(context.Context) ([]admin.Server, error) {
	return []admin.Server{{PID: 9, Addr: "b:2", Database: "app", Role: "r", Doing: "active", Pinned: true, Client: 7, Born: noon}}, d.fail
}

// Kill is part of admin.Roster.
func (d *desk) Kill(_ context.Context, number uint64, database, role string) (int, error) {
	d.killed = fmt.Sprintf("%d %s/%s", number, database, role)
	if number == 404 {
		return 0, d.fail
	}
	return 2, d.fail
}

// Pause is part of admin.Roster.
func (d *desk) Pause(_ context.Context, database string, on bool) (int, bool, error) {
	d.killed = fmt.Sprintf("%s %v", database, on)
	return 3, database != "none", d.fail
}

// Databases is part of admin.Settings.
func (d *desk) Databases() []admin.Database { return []admin.Database{{Name: "app", Size: 3}} }

// Settings is part of admin.Settings.
func (d *desk) Settings() []admin.Setting {
	return []admin.Setting{{Key: "limits.max_clients", Text: "10", Reload: true}}
}

// Measure is part of admin.Meter.
func (d *desk) Measure(context.Context) (*admin.Measures, error) {
	m := &admin.Measures{
		Pools:  []admin.PoolMeasures{{Database: "app", Role: "r", Transactions: 4, Closed: map[string]uint64{"idle": 2, "old": 1}, Handovers: map[string]uint64{"switch": 5}}},
		Logins: []admin.LoginMeasures{{Method: "jwt", Accepted: 1, Left: 2, Refused: map[string]uint64{"28": 3, "53": 1}}},
	}
	m.Pools[0].Held.Add(time.Millisecond)
	m.Pools[0].Held.Add(3 * time.Millisecond)
	return m, d.fail
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// sit makes a console and a client of it that may steer.
func sit(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, right: admin.Steer, over: make(chan string, 1)}
	d.Console = &admin.Console{
		Rights: func(*claimpool.Identity) admin.Right { return d.right }, Idle: func() time.Duration { return time.Hour }, Version: "1",
		Pools: d, Revocations: d, Running: d, Roster: d, Settings: d, Meter: d, Audit: d, Log: slog.New(slog.DiscardHandler),
	}
	mine, its := net.Pipe()
	d.conn = mine
	var ctx context.Context
	ctx, d.end = context.WithCancelCause(t.Context())
	stop := context.AfterFunc(ctx, func() { its.SetReadDeadline(time.Now()) })
	go func() {
		id := claimpool.NewIdentity(claimpool.MethodSCRAM, "", "ops", "ops", nil, nil, time.Time{})
		d.over <- d.Serve(ctx, admin.Guest{Conn: its, Who: claimpool.Event{User: "ops", Identity: id}, Check: func() error { return nil }})
		stop()
		its.Close()
	}()
	t.Cleanup(func() { mine.Close() })
	return d
}

// send sends, beside the reader of answers: a pipe has no buffer.
func (d *desk) send(messages ...[]byte) {
	all := []byte{}
	for _, m := range messages {
		all = append(all, m...)
	}
	go d.conn.Write(all)
}

// ask gives the words of an answer: "T(a,b) D(1,) C(SHOW) Z(I)".
func (d *desk) ask(messages ...[]byte) string {
	d.t.Helper()
	d.send(messages...)
	var words []string
	for {
		typ, body, err := wire.ReadMessage(d.conn, 1<<20)
		if err != nil {
			return strings.Join(append(words, "EOF"), " ")
		}
		switch typ {
		case wire.MsgReadyForQuery:
			return strings.Join(append(words, fmt.Sprintf("Z(%s)", body)), " ")
		case wire.MsgErrorResponse:
			f, _ := wire.ParseError(body)
			words = append(words, fmt.Sprintf("%s(%s %s)", f.Severity, f.Code, f.Message))
		case wire.MsgDataRow:
			row, _ := wire.ParseDataRow(body)
			words = append(words, "D("+strings.Join(row, ",")+")")
		case wire.MsgCommandComplete:
			tag, _ := wire.CommandTag(body)
			words = append(words, "C("+tag+")")
		default:
			words = append(words, string(typ))
		}
	}
}

func (d *desk) say(sql string) string { d.t.Helper(); return d.ask(wire.AppendQuery(nil, sql)) }

// heard takes the events of the audit stream.
func (d *desk) heard() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.events
	d.events = nil
	return list
}

const (
	notHere = "ERROR(42601 this is no command of the console) Z(I)"
	hash    = "04d62b7ffeb7cbdeb5da7a3c0f5cb24ab1a3a2bd61f7b5aa1dd1ab6cb8c4a3c5"
)

func TestConsoleCommands(t *testing.T) {
	d := sit(t)
	for _, test := range []struct{ sql, want string }{
		{"SHOW VERSION", "T D(claimpool 1) C(SHOW) Z(I)"},
		{"show version ;; ", "T D(claimpool 1) C(SHOW) Z(I)"},
		{"", "I Z(I)"},
		{" ; ", "I Z(I)"},
		{"SHOW POOLS", "T D(app\ufffd[2J,,r,session,0,0,0,0,0,0,0,0,0,0,0) C(SHOW) Z(I)"},
		{"SHOW", "ERROR(42601 there is nothing of this name to show) Z(I)"},
		{"SHOW SECRETS", "ERROR(42601 there is nothing of this name to show) Z(I)"},
		{"SHOW VERSION POOLS", `ERROR(42601 syntax error at or near "POOLS") Z(I)`},
		{"\\d", notHere},
		{"DROP TABLE users", notHere},
		{"SELECT 1", "T D(1) C(SELECT 1) Z(I)"},
		{"select version()", "T D(claimpool 1) C(SELECT 1) Z(I)"},
		{"SELECT * FROM pg_authid", "ERROR(42601 the console has no SQL) Z(I)"},
		{"SET application_name = 'it''s me'", "C(SET) Z(I)"},
		{"SET jwt.context = 'x'", "ERROR(0A000 the console takes no fresh token) Z(I)"},
		{"SHOW TRANSACTION ISOLATION LEVEL", "T D(read committed) C(SHOW) Z(I)"},
		{"SHOW standard_conforming_strings", "T D(on) C(SHOW) Z(I)"},
		{"BEGIN", "C(BEGIN) Z(T)"},
		{"SHOW VERSION", "T D(claimpool 1) C(SHOW) Z(T)"},
		{"REVOKE SUB ('ann')", "ERROR(25001 this command cannot run inside a transaction block) Z(T)"},
		{"COMMIT", "C(COMMIT) Z(I)"},
		{"DISCARD ALL", "C(DISCARD ALL) Z(I)"},
		{"RELOAD", "C(RELOAD) Z(I)"},
		{"REVOKE", "ERROR(42601 REVOKE needs to know what) Z(I)"},
		{"REVOKE SUB", "ERROR(42601 SUB needs a value in single quotes) Z(I)"},
		{"REVOKE SUB ('ann' ISSUER 'i')", "ERROR(42601 SUB needs a value in single quotes) Z(I)"},
		{"REVOKE SUB ann", "ERROR(42601 SUB needs a value in single quotes) Z(I)"},
		{"REVOKE SUB ''", "ERROR(22023 cannot revoke that) Z(I)"},
		{"REVOKE SUB 'ann' SID 's'", `ERROR(42601 syntax error at or near "SID") Z(I)`},
		{"REVOKE SUB 'ann' ISSUER 'i' ISSUER 'j'", "ERROR(42601 ISSUER is there twice) Z(I)"},
		{"REVOKE ISSUER 'i' ISSUER 'j'", "ERROR(42601 ISSUER is there twice) Z(I)"},
		{"REVOKE JTI 'j'", "ERROR(22023 cannot revoke that) Z(I)"},
		{"REVOKE JTI 'j' ISSUER 'i' BEFORE '2026-11-21T12:00:00Z'", "ERROR(22023 cannot revoke that) Z(I)"},
		{"REVOKE SUB 'ann' BEFORE 'tomorrow'", "ERROR(22023 cannot revoke that) Z(I)"},
		{"REVOKE HASH 'xyz'", "ERROR(22023 cannot revoke that) Z(I)"},
		{"REVOKE SUB $1", "ERROR(42601 there is no parameter $1) Z(I)"},
		{"DEALLOCATE nothing", "C(DEALLOCATE) Z(I)"},
		{"SHOW CLIENTS", "N T D(7,a:1,app,,r,ann@i,jwt,idle,,2026-11-21 12:00:00+00,60,2026-11-21 12:00:00+00) C(SHOW) Z(I)"},
		{"SHOW SERVERS", "T D(9,b:2,app,,r,active,t,7,,2026-11-21 12:00:00+00,0) C(SHOW) Z(I)"},
		{"SHOW DATABASES", "T D(app,,,,,3,0,,,f) C(SHOW) Z(I)"},
		{"SHOW CONFIG", "T D(limits.max_clients,10,t) C(SHOW) Z(I)"},
		{"SHOW STATS", "T D(app,,r,4,4,2000,0,0,0,0,0,0,5,0,0,3) C(SHOW) Z(I)"},
		{"SHOW LOGINS", "T D(jwt,1,4,2,0) C(SHOW) Z(I)"},
		{"PAUSE", "ERROR(42601 PAUSE needs a database) Z(I)"},
		{"RESUME app", "ERROR(42601 RESUME needs a database) Z(I)"},
		{"KILL", "ERROR(42601 KILL needs to know what) Z(I)"},
		{"KILL app", "ERROR(42601 KILL needs to know what) Z(I)"},
		{"KILL CLIENT", "ERROR(42601 CLIENT needs a value in single quotes) Z(I)"},
		{"KILL CLIENT all", "ERROR(42704 there is no such client) Z(I)"},
		{"KILL CLIENT 0", "ERROR(42704 there is no such client) Z(I)"},
		{"KILL CLIENT -1", "ERROR(42601 CLIENT needs a value in single quotes) Z(I)"},
		{"KILL DATABASE app", "ERROR(42601 DATABASE needs a value in single quotes) Z(I)"},
		{"KILL DATABASE ''", "ERROR(42704 there is no such client) Z(I)"},
	} {
		if got := d.say(test.sql); got != test.want {
			t.Errorf("%s\n got %s\nwant %s", test.sql, got, test.want)
		}
	}
	if len(d.made) > 0 || d.killed != "" {
		t.Errorf("revoked: %v, killed: %v", d.made, d.killed)
	}
	for _, name := range []string{"RELOAD", "REVOKE ISSUER", "SHOW POOLS"} {
		if got := d.say("SHOW HELP"); !strings.Contains(got, name) {
			t.Errorf("no %s in %s", name, got)
		}
	}
}

// TestConsoleRevokes: REVOKE makes the entries that the endpoint makes.
func TestConsoleRevokes(t *testing.T) {
	d := sit(t)
	for sql, req := range map[string]revocation.Request{
		"REVOKE SUB 'ann'": {Subject: "ann"},
		"revoke sub 'ann' reason 'lost' issuer 'i' before '2026-11-21T12:00:00Z'": {Subject: "ann", Issuer: "i", Before: noon, Reason: "lost"},
		"REVOKE JTI 'j' ISSUER 'i'":                            {Token: "j", Issuer: "i"},
		"REVOKE SID 's' ISSUER 'i'":                            {Session: "s", Issuer: "i"},
		"REVOKE ISSUER 'i' BEFORE '2026-11-21T13:00:00+01:00'": {All: true, Issuer: "i", Before: noon.In(time.FixedZone("", 3600))},
		"REVOKE HASH '" + hash + "'":                           {Hash: hash},
	} {
		want, err := req.Entry()
		if err != nil {
			t.Fatal(err)
		}
		d.made = nil
		answer := d.say(sql)
		if want := fmt.Sprintf("T D(%s,%x) C(REVOKE) Z(I)", want.Kind, want.Mark); answer != want {
			t.Errorf("%s: %s, want %s", sql, answer, want)
		}
		if diff := cmp.Diff([]revocation.Entry{want}, d.made); diff != "" {
			t.Errorf("%s:\n%s", sql, diff)
		}
	}
	made := time.Date(2026, 11, 21, 12, 0, 0, 120000, time.FixedZone("", 3600))
	d.made = []revocation.Entry{{ID: 7, Kind: claimpool.MarkIssuer, Issuer: "i", Made: made, By: "me", Reason: "r", UndoneBy: 9}}
	if got := d.say("SHOW REVOCATIONS"); !strings.Contains(got, ",i,,,2026-11-21 11:00:00.00012+00,me,r,f,9) C(SHOW)") {
		t.Error(got)
	}
}

// TestConsoleKills: KILL names one client, a database, or one of its roles.
func TestConsoleKills(t *testing.T) {
	d := sit(t)
	for sql, want := range map[string][2]string{
		"KILL CLIENT 7": {"7 /", "T D(2) C(KILL) Z(I)"}, "kill client '8';": {"8 /", "T D(2) C(KILL) Z(I)"}, "KILL DATABASE 'a''b'": {"0 a'b/", "T D(2) C(KILL) Z(I)"},
		"KILL DATABASE 'app' ROLE 'r'": {"0 app/r", "T D(2) C(KILL) Z(I)"}, "PAUSE DATABASE 'a'": {"a true", "T D(3) C(PAUSE) Z(I)"}, "resume database 'a'": {"a false", "T D(3) C(RESUME) Z(I)"},
		"PAUSE DATABASE 'none'": {"none true", "ERROR(3D000 database \"none\" does not exist) Z(I)"}, "KILL CLIENT 404": {"404 /", "ERROR(42704 there is no such client) Z(I)"},
	} {
		if got := d.say(sql); got != want[1] || d.killed != want[0] {
			t.Errorf("%s: %s, %s", sql, got, d.killed)
		}
	}
	if events := strings.Join(d.heard(), "\n"); !strings.Contains(events, "KILL CLIENT 7, 2 ended: done") || !strings.Contains(events, `KILL DATABASE "app" "r", 2 ended: done`) || !strings.Contains(events, "404, 0 ended: there is no such client 42704") {
		t.Error(events)
	}
	if got := d.ask(wire.AppendSync(wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "KILL CLIENT $1"), "", "", [][]byte{[]byte("9")}), "", 0))); got != "1 2 D(2) C(KILL) Z(I)" || d.killed != "9 /" {
		t.Errorf("%s, %s", got, d.killed)
	}
}

// TestConsoleRecords: what is asked is recorded with its outcome, and without a secret.
func TestConsoleRecords(t *testing.T) {
	d := sit(t)
	for _, test := range []struct {
		sql  string
		want []string
	}{
		{"SHOW POOLS", []string{"command ops console: SHOW POOLS"}},
		{"RELOAD", []string{"command ops console: RELOAD", "command ops console: RELOAD: done"}},
		{"SELECT 1", nil},
		{"BEGIN", nil},
		{"KILL CLIENT 7", []string{"command ops console: KILL CLIENT: this command cannot run inside a transaction block 25001"}},
		{"ROLLBACK", nil},
		{"password hunter2", []string{"command ops console: a command that is none 42601"}},
		{"REVOKE JTI 'jti' ISSUER 'i'", []string{"command ops console: REVOKE JTI", "command ops console: REVOKE JTI (token c4bd…): done"}},
		{"REVOKE JTI 'jti'", []string{"command ops console: REVOKE JTI", "command ops console: REVOKE JTI: cannot revoke that 22023"}},
	} {
		d.say(test.sql)
		got := d.heard()
		for i := range got {
			if at := strings.Index(got[i], "(token "); at > 0 {
				got[i] = got[i][:at+7] + "c4bd…" + got[i][strings.Index(got[i], ")"):]
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s:\n%s", test.sql, diff)
		}
	}
	d.lost = errors.New("disk full")
	for _, sql := range []string{"SHOW POOLS", "RELOAD", "REVOKE SUB 'ann'", "nonsense"} {
		if got := d.say(sql); got != "ERROR(57P03 cannot record the command at the moment) Z(I)" {
			t.Errorf("%s: %s", sql, got)
		}
	}
	if d.lost = nil; d.made != nil && len(d.made) != 1 {
		t.Errorf("done, and not recorded: %v", d.made)
	}
	d.heard()
	d.fail = errors.New("the password of the table is hunter2")
	for sql, want := range map[string]string{
		"SHOW POOLS":       "ERROR(57P03 the pools cannot be looked at at the moment) Z(I)",
		"SHOW REVOCATIONS": "ERROR(57P03 the table of revocations cannot be used at the moment) Z(I)",
		"REVOKE SUB 'ann'": "ERROR(57P03 the table of revocations cannot be used at the moment) Z(I)",
		"RELOAD":           "ERROR(22023 the configuration was not reloaded: the old one stays) Z(I)",
	} {
		if got := d.say(sql); got != want {
			t.Errorf("%s: %s", sql, got)
		}
	}
	if all := strings.Join(d.heard(), "\n"); strings.Contains(all, "hunter2") || strings.Count(all, "57P03") != 3 || strings.Count(all, "22023") != 1 {
		t.Error(all)
	}
	d.Console.Pools, d.Console.Revocations, d.Console.Running, d.Console.Roster, d.Console.Settings, d.Console.Meter = nil, nil, nil, nil, nil, nil
	for _, sql := range []string{"SHOW POOLS", "SHOW CLIENTS", "SHOW SERVERS", "SHOW DATABASES", "SHOW CONFIG", "SHOW STATS", "SHOW LOGINS", "KILL CLIENT 7", "SHOW REVOCATIONS", "REVOKE SUB 'ann'", "RELOAD"} {
		if got := d.say(sql); got != "ERROR(0A000 this proxy has nothing for this command) Z(I)" {
			t.Errorf("%s: %s", sql, got)
		}
	}
}

// TestConsoleExtended: prepared statements and portals, as drivers use them.
func TestConsoleExtended(t *testing.T) {
	d := sit(t)
	sync := wire.AppendSync(nil)
	d.made = []revocation.Entry{{ID: 1}, {ID: 2}}
	const version = "D(claimpool 1) C(SHOW)"
	for _, test := range []struct {
		messages []byte
		want     string
	}{
		{wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "SHOW VERSION"), "", "", nil), "", 0), "1 2 " + version + " Z(I)"},
		{wire.AppendDescribe(wire.AppendParse(nil, "s", "REVOKE SUB $2 ISSUER $1"), wire.KindStatement, "s"), "1 t T Z(I)"},
		{wire.AppendParse(nil, "s", "SHOW VERSION"), `ERROR(42P05 prepared statement "s" already exists) Z(I)`},
		{wire.AppendBind(nil, "", "s", [][]byte{[]byte("i")}), "ERROR(08P01 bind message supplies 1 parameters, but prepared statement requires 2) Z(I)"},
		{wire.AppendBind(nil, "", "s", [][]byte{[]byte("i"), nil}), "ERROR(22023 a parameter of the console is null or no text) Z(I)"},
		{wire.AppendBind(nil, "", "none", nil), `ERROR(26000 prepared statement "none" does not exist) Z(I)`},
		{wire.AppendExecute(nil, "none", 0), `ERROR(34000 portal "none" does not exist) Z(I)`},
		{wire.AppendDescribe(nil, wire.KindPortal, "none"), `ERROR(34000 portal "none" does not exist) Z(I)`},
		{wire.AppendExecute(wire.AppendParse(nil, "", "nonsense"), "", 0), "ERROR(42601 this is no command of the console) Z(I)"},
		{wire.AppendParse(nil, "", "SHOW VERSION", 20), "ERROR(0A000 parameters of the console are texts) Z(I)"},
		{wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", ""), "", "", nil), "", 0), "1 2 I Z(I)"},
		{wire.AppendDescribe(wire.AppendParse(nil, "", "BEGIN"), wire.KindStatement, ""), "1 t n Z(I)"},
		{wire.AppendExecute(wire.AppendBind(nil, "", "", nil), "", 0), "2 C(BEGIN) Z(T)"},
		{wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "h", "SHOW REVOCATIONS"), "p", "h", nil), "p", 1), "1 2 D(1,,00,,,,,,,f,) s Z(T)"},
		{wire.AppendExecute(nil, "p", 0), "D(2,,00,,,,,,,f,) C(SHOW) Z(T)"},
		{wire.AppendExecute(nil, "p", 0), "C(SHOW) Z(T)"},
		{wire.AppendClose(wire.AppendClose(nil, wire.KindPortal, "p"), wire.KindStatement, "h"), "3 3 Z(T)"},
		{wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "ROLLBACK"), "", "", nil), "", 0), "1 2 C(ROLLBACK) Z(I)"},
	} {
		if got := strings.ReplaceAll(d.ask(test.messages, sync), strings.Repeat("0", 64), "00"); got != test.want {
			t.Errorf("got %s\nwant %s", got, test.want)
		}
	}
	if got := d.ask(wire.AppendFunctionCall(nil, 1)); got != "ERROR(0A000 the console has no functions to call) Z(I)" {
		t.Error(got)
	}
	d.made = nil
	if got := d.ask(wire.AppendExecute(wire.AppendBind(nil, "", "s", [][]byte{[]byte("i'; RELOAD --"), []byte("ann")}), "", 0), sync); !strings.HasPrefix(got, "2 D(subject,") || len(d.made) != 1 || d.made[0].Issuer != "i'; RELOAD --" {
		t.Errorf("%s %v", got, d.made)
	}
}

// TestAttackConsoleReader: the attacker may read in the console. He tries to steer: in a simple query, by a prepared statement, by several
// commands in one text, in other letters, behind a comment; and with the rights that he had before a reload.
//
// Must: Nothing must be carried out, each attempt is refused (42501, 42601) and recorded.
// Dialects: none
func TestAttackConsoleReader(t *testing.T) {
	d := sit(t)
	prepared := wire.AppendParse(nil, "s", "REVOKE SUB 'ann'")
	if got := d.ask(prepared, wire.AppendSync(nil)); got != "1 Z(I)" {
		t.Fatal(got)
	}
	d.right = admin.Read
	denied := "ERROR(42501 permission denied for this command) Z(I)"
	for _, sql := range []string{"REVOKE SUB 'ann'", "rEvOkE\tsub 'ann';", "RELOAD", "KILL CLIENT 7"} {
		if got := d.say(sql); got != denied {
			t.Errorf("%s: %s", sql, got)
		}
	}
	for _, sql := range []string{"SHOW POOLS; REVOKE SUB 'ann'", "SHOW POOLS;;RELOAD", "/* */ RELOAD", "--\nRELOAD", "SHOW POOLS -- '", "RELO\u0410D", "SET a = 1; RELOAD", "\"RELOAD\"", "SELECT 1; RELOAD"} {
		if got := d.say(sql); !strings.HasPrefix(got, "ERROR(42601 ") {
			t.Errorf("%s: %s", sql, got)
		}
	}
	if got := d.ask(wire.AppendExecute(wire.AppendBind(nil, "", "s", nil), "", 0), wire.AppendSync(nil)); got != "2 "+denied {
		t.Errorf("prepared before: %s", got)
	}
	if d.made != nil {
		t.Errorf("revoked: %v", d.made)
	}
	if events := strings.Join(d.heard(), "\n"); strings.Count(events, "42501") != 5 || strings.Count(events, "42601") != 9 || strings.Contains(events, "done") {
		t.Error(events)
	}
	d.right = admin.Nothing
	if got := d.say("SHOW POOLS"); got != denied {
		t.Error(got)
	}
}

// TestAttackConsoleInjection: the attacker chooses a value that a program of the administrators puts into a command, between quotes that it
// doubles as it should, or as a parameter: quotes, backslashes, semicolons, comments, dollars, line breaks, what another encoding takes for a
// quote.
//
// Must: What is revoked must be exactly that value, and nothing else must happen; what is no UTF-8 is refused.
// Dialects: none
func TestAttackConsoleInjection(t *testing.T) {
	d := sit(t)
	for _, evil := range []string{
		"'", "''", `\'`, `\`, "'; RELOAD; --", "' ISSUER 'other", "$1", "$$", "a\nRELOAD", "\r\n", "/*", "é'", "\u02bc; RELOAD", "%27", "x' BEFORE '2099-01-01T00:00:00Z", "\x1b[31m",
	} {
		d.made = nil
		for _, ask := range [][]byte{
			wire.AppendQuery(nil, "REVOKE SUB '"+strings.ReplaceAll(evil, "'", "''")+"' ISSUER 'i'"),
			wire.AppendSync(wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "REVOKE SUB $1 ISSUER 'i'"), "", "", [][]byte{[]byte(evil)}), "", 0)),
		} {
			if got := d.ask(ask); !strings.HasSuffix(got, "C(REVOKE) Z(I)") {
				t.Errorf("%q: %s", evil, got)
			}
		}
		if len(d.made) != 2 || d.made[0].Subject != evil || d.made[1].Subject != evil || d.made[0].Issuer != "i" || !d.made[0].Before.IsZero() {
			t.Errorf("%q: %+v", evil, d.made)
		}
	}
	d.made = nil
	for _, evil := range []string{"\xbf'", "\xff", "a\xc0\xa7b"} {
		if got := d.say("REVOKE SUB '" + evil + "'"); !strings.HasPrefix(got, "ERROR(42601 ") {
			t.Errorf("%q: %s", evil, got)
		}
	}
	for _, open := range []string{"REVOKE SUB 'ann", "REVOKE SUB 'ann''", "REVOKE SUB \"ann\"", "REVOKE SUB 'ann' ISSUER", "REVOKE SUB E'ann'", "REVOKE SUB U&'ann'", "REVOKE SUB $$ann$$", "REVOKE SUB 'a' 'b'"} {
		if got := d.say(open); !strings.HasPrefix(got, "ERROR(42601 ") {
			t.Errorf("%q: %s", open, got)
		}
	}
	if d.made != nil {
		t.Errorf("revoked: %+v", d.made)
	}
}

// TestAttackConsoleMessages: the attacker may read in the console, and breaks the protocol: messages that are too long, of unknown types, with
// lengths that lie, thousands of prepared statements, a half message, answers that are not taken.
//
// Must: The connection must end (08P01, 57P05) or the message be refused (54000), without memory for what was announced, and nobody waits for him for ever.
// Dialects: none
func TestAttackConsoleMessages(t *testing.T) {
	for name, test := range map[string]struct {
		message []byte
		want    string
	}{
		"too long":       {wire.AppendQuery(nil, strings.Repeat("x", 1<<20)), "FATAL(08P01 message too long for the console) EOF"},
		"announced":      {[]byte{'Q', 0x3f, 0xff, 0xff, 0xff}, "FATAL(08P01 message too long for the console) EOF"},
		"negative":       {[]byte{'Q', 0xff, 0xff, 0xff, 0xff}, "FATAL(08P01 message too long for the console) EOF"},
		"unknown":        {[]byte{'!', 0, 0, 0, 4}, "FATAL(08P01 invalid message type for the console) EOF"},
		"a login":        {wire.AppendPassword(nil, []byte("x")), "FATAL(08P01 invalid message type for the console) EOF"},
		"an open string": {[]byte{'Q', 0, 0, 0, 5, 'x'}, "FATAL(08P01 invalid message format) EOF"},
		"a bad bind":     {[]byte{'B', 0, 0, 0, 8, 0, 0, 0xff, 0xff}, "FATAL(08P01 invalid message format) EOF"},
		"copy":           {append(wire.AppendCopyDone(wire.AppendCopyData(nil, []byte("x"))), wire.AppendSync(nil)...), "Z(I)"},
	} {
		if got := sit(t).ask(test.message); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	d := sit(t)
	var many []byte
	for i := range 101 {
		many = wire.AppendParse(many, fmt.Sprint(i), "SHOW VERSION")
	}
	if got := d.ask(many, wire.AppendSync(nil)); !strings.HasSuffix(got, "1 ERROR(54000 too many prepared statements in the console) Z(I)") {
		t.Error(got)
	}
	d = sit(t)
	d.made = make([]revocation.Entry, 9_000)
	many = wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "s", "SHOW REVOCATIONS"), "p0", "s", nil), "p0", 1)
	d.ask(wire.AppendSync(wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "BEGIN"), "", "", nil), "", 0)))
	for i := range 3 {
		many = wire.AppendExecute(wire.AppendBind(many, fmt.Sprint(i), "s", nil), fmt.Sprint(i), 1)
	}
	if got := d.ask(many, wire.AppendSync(nil)); strings.Count(got, " s ") != 2 || !strings.HasSuffix(got, "2 ERROR(54000 too many prepared statements in the console) Z(T)") {
		t.Error(got)
	}
	synctest.Test(t, func(t *testing.T) { // in its own time
		d := sit(t)
		d.send(wire.AppendQuery(nil, "SHOW VERSION")[:8])
		if got := d.ask(); got != "FATAL(57P05 terminating connection due to idle-session timeout) EOF" {
			t.Errorf("half a message: %s", got)
		}
		<-d.over
	})
	synctest.Test(t, func(t *testing.T) {
		d := sit(t)
		d.send(wire.AppendQuery(nil, "SHOW VERSION"))
		if reason := <-d.over; !strings.Contains(reason, "does not take its answer") {
			t.Error(reason)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := sit(t)
		d.end(&claimpool.Error{Code: claimpool.CodeInvalidAuthorization, Message: "out"})
		if got := d.ask(); got != "FATAL(28000 out) EOF" {
			t.Error(got)
		}
		<-d.over
	})
}
