package admin_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/admin"
	"github.com/claimpool/claimpool/revocation"
	"github.com/claimpool/claimpool/wire"
)

// TestConsoleUndoes: UNDO REVOCATION takes back what an administrator has made, is for administrators, and is recorded with its outcome.
func TestConsoleUndoes(t *testing.T) {
	d := sit(t)
	for sql, want := range map[string][2]string{
		"UNDO REVOCATION 7":                       {"7 ", "T D(7) C(UNDO) Z(I)"},
		"undo revocation '7' reason 'wrong Ann';": {"7 wrong Ann", "T D(7) C(UNDO) Z(I)"},
		"UNDO REVOCATION 404":                     {"404 ", "ERROR(22023 cannot undo that) Z(I)"},
		"UNDO REVOCATION 8":                       {"8 ", "ERROR(22023 cannot undo that) Z(I)"},
		"UNDO REVOCATION 9":                       {"9 ", "ERROR(22023 cannot undo that) Z(I)"},
		"UNDO REVOCATION 0":                       {"", "ERROR(22023 cannot undo that) Z(I)"},
		"UNDO REVOCATION x":                       {"", "ERROR(22023 cannot undo that) Z(I)"},
		"UNDO REVOCATION '7 or 8'":                {"", "ERROR(22023 cannot undo that) Z(I)"},
		"UNDO REVOCATION 99999999999999999999":    {"", "ERROR(22023 cannot undo that) Z(I)"},
		"UNDO":                                    {"", "ERROR(42601 UNDO needs a revocation) Z(I)"},
		"UNDO REVOCATION":                         {"", "ERROR(42601 REVOCATION needs a value in single quotes) Z(I)"},
		"UNDO REVOCATION 7 8":                     {"", `ERROR(42601 syntax error at or near "8") Z(I)`},
		"UNDO REVOCATION 7 REASON":                {"", "ERROR(42601 REASON needs a value in single quotes) Z(I)"},
	} {
		d.killed = ""
		if got := d.say(sql); got != want[1] || d.killed != want[0] {
			t.Errorf("%s: %s, %q", sql, got, d.killed)
		}
	}
	events := strings.Join(d.heard(), "\n")
	for _, want := range []string{"console: UNDO REVOCATION 7: done", "console: UNDO REVOCATION 9: cannot undo that 22023"} {
		if !strings.Contains(events, want) {
			t.Errorf("no %q in %s", want, events)
		}
	}
	d.killed = ""
	ask := wire.AppendSync(wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "UNDO REVOCATION $1 REASON $2"), "", "", [][]byte{[]byte("7"), []byte("r")}), "", 0))
	if got := d.ask(ask); got != "1 2 D(7) C(UNDO) Z(I)" || d.killed != "7 r" {
		t.Errorf("%s, %s", got, d.killed)
	}
	d.fail = errors.New("no table")
	if got := d.say("UNDO REVOCATION 7"); got != "ERROR(57P03 the table of revocations cannot be used at the moment) Z(I)" {
		t.Error(got)
	}
	d.killed, d.fail, d.lost = "", nil, errors.New("disk full")
	if got := d.say("UNDO REVOCATION 7"); got != "ERROR(57P03 cannot record the command at the moment) Z(I)" || d.killed != "" {
		t.Errorf("done, and not recorded: %s", got)
	}
	d.lost, d.right = nil, admin.Read
	if got := d.say("UNDO REVOCATION 7"); got != "ERROR(42501 permission denied for this command) Z(I)" || d.killed != "" {
		t.Errorf("a reader: %s", got)
	}
}

// TestEndpointUndoes: DELETE takes back what its path names, and nothing else.
func TestEndpointUndoes(t *testing.T) {
	log, lines := newLog()
	table := new(counted)
	url := serve(t, admin.Handler(claimpool.Secret(secret), table, table, nil, log), log) + "/revocations"
	for _, test := range []struct {
		path   string
		fail   error
		status int
	}{
		{"/7?reason=wrong+Ann", nil, 204}, {"/7", revocation.ErrUnknown, 404}, {"/7", revocation.ErrUndone, 409}, {"/7", revocation.ErrByIssuer, 409},
		{"/7", revocation.ErrLongReason, 400}, {"/7", errors.New("password of the table"), 503},
	} {
		table.fail = test.fail
		if status, text, _ := ask(t, "DELETE", url+test.path, "", "Authorization", "Bearer "+secret); status != test.status || strings.Contains(text, "password") {
			t.Errorf("%s, %v: %d %s", test.path, test.fail, status, text)
		}
	}
	table.calls = 0
	for path, want := range map[string]int{"/x": 400, "/0": 400, "/-1": 400, "/7%20or%201": 400, "/7/8": 404, "": 405, "/": 404} {
		if status, text, _ := ask(t, "DELETE", url+path, "", "Authorization", "Bearer "+secret); status != want {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if table.calls != 0 || !strings.Contains(lines.String(), "a revocation was taken back") {
		t.Errorf("%d calls; %s", table.calls, lines.String())
	}
}
