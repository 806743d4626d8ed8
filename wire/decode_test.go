package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// refusals checks that every one of the bodies is refused, and with 08P01 when it came from a client.
func refusals(t *testing.T, client bool, bodies map[string]string, parse func([]byte) error) {
	t.Helper()
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			err := parse([]byte(body))
			if err == nil {
				t.Fatal("accepted")
			}
			want := claimpool.CodeInternalError // plain errors of servers do not travel to clients
			if client {
				want = claimpool.CodeProtocolViolation
			}
			if got := claimpool.AsError(err).Code; got != want {
				t.Errorf("SQLSTATE %s, want %s (%v)", got, want, err)
			}
		})
	}
}

func TestParseStartup(t *testing.T) {
	s, err := wire.ParseStartup([]byte("\x00\x03\x00\x02user\x00ann\x00database\x00\x00" + "options\x00-c a=b\x00\x00"))
	want := wire.Startup{Version: wire.Version32, Params: [][2]string{{"user", "ann"}, {"database", ""}, {"options", "-c a=b"}}}
	if err != nil || !cmp.Equal(s, want) {
		t.Fatalf("got %+v, %v", s, err)
	}
	if s.Get("user") != "ann" || s.Get("User") != "" || s.Get("none") != "" {
		t.Error("Get")
	}
	if s, err := wire.ParseStartup([]byte("\x00\x03\x00\x00\x00")); err != nil || s.Params != nil {
		t.Errorf("no parameters: %+v, %v", s, err)
	}
	many := "\x00\x03\x00\x00"
	for i := range 129 {
		many += strings.Repeat("n", i+1) + "\x00v\x00"
	}
	refusals(t, true, map[string]string{
		"empty":                     "",
		"no version":                "\x00\x03\x00",
		"version only":              "\x00\x03\x00\x00",
		"name without an end":       "\x00\x03\x00\x00user",
		"value missing":             "\x00\x03\x00\x00user\x00",
		"value without an end":      "\x00\x03\x00\x00user\x00ann",
		"terminator missing":        "\x00\x03\x00\x00user\x00ann\x00",
		"bytes behind the end":      "\x00\x03\x00\x00user\x00ann\x00\x00x",
		"second terminator":         "\x00\x03\x00\x00user\x00ann\x00\x00\x00",
		"same name twice":           "\x00\x03\x00\x00user\x00ann\x00user\x00postgres\x00\x00",
		"same name in another case": "\x00\x03\x00\x00user\x00ann\x00USER\x00postgres\x00\x00",
		"too many parameters":       many + "\x00",
	}, func(b []byte) error { _, err := wire.ParseStartup(b); return err })
}

func TestParseCancel(t *testing.T) {
	for _, n := range []int{4, 32, 256} {
		key := bytes.Repeat([]byte{7}, n)
		pid, secret, err := wire.ParseCancel(wire.AppendCancelRequest(nil, 1<<31+1, key)[4:])
		if pid != 1<<31+1 || !bytes.Equal(secret, key) || err != nil {
			t.Errorf("key of %d bytes: %d, %d bytes, %v", n, pid, len(secret), err)
		}
	}
	code := "\x04\xd2\x16\x2e"
	refusals(t, true, map[string]string{
		"empty":          "",
		"code only":      code,
		"no key":         code + "\x00\x00\x00\x01",
		"key of 3 bytes": code + "\x00\x00\x00\x01abc",
		"key too long":   code + "\x00\x00\x00\x01" + strings.Repeat("k", 257),
		"other code":     "\x04\xd2\x16\x2f\x00\x00\x00\x01abcd",
	}, func(b []byte) error { _, _, err := wire.ParseCancel(b); return err })
}

func TestParseOptions(t *testing.T) {
	tests := []struct {
		name, in string
		want     [][2]string
	}{
		{"nothing", "", nil},
		{"white space only", " \t\r\n\v\f", nil},
		{"-c apart", "-c geqo=off", [][2]string{{"geqo", "off"}}},
		{"-c together", "-cgeqo=off", [][2]string{{"geqo", "off"}}},
		{"long", "--geqo=off", [][2]string{{"geqo", "off"}}},
		{"dash becomes underscore", "--work-mem=4MB -c lc-messages=C", [][2]string{{"work_mem", "4MB"}, {"lc_messages", "C"}}},
		{"several", "-c a=1  --b=2\t-cc=3", [][2]string{{"a", "1"}, {"b", "2"}, {"c", "3"}}},
		{"escaped space", `-c search_path=a,\ b`, [][2]string{{"search_path", "a, b"}}},
		{"escaped backslash", `-c a=\\b`, [][2]string{{"a", `\b`}}},
		{"backslash at the end", `-c a=b\`, [][2]string{{"a", "b"}}},
		{"empty value", "-c a=", [][2]string{{"a", ""}}},
		{"equal sign in the value", "-c a=b=c", [][2]string{{"a", "b=c"}}},
		{"value with a dash", "-c TimeZone=America/Port-au-Prince", [][2]string{{"TimeZone", "America/Port-au-Prince"}}},
		{"Supabase's switch", "--jit=true", [][2]string{{"jit", "true"}}},
		{"switches", "-e -S 7168 -fs -f h -S1", [][2]string{{"DateStyle", "euro"}, {"work_mem", "7168"}, {"enable_seqscan", "off"}, {"enable_hashjoin", "off"}, {"work_mem", "1"}}},
		{"an end", "-c a=1 --", [][2]string{{"a", "1"}}},
		{"same name twice stays in order", "-c a=1 -c a=2", [][2]string{{"a", "1"}, {"a", "2"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.ParseOptions(tt.in)
			if err != nil || !cmp.Equal(got, tt.want) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	for _, in := range []string{"-c", "-c a", "-c =b", "-- -c a=b", "-", "--a", "a=b", "-f", "-f x", "-f si", "-S", "-es", "-B 10", "-Ec a=b", `\`, "-c --a=b x"} {
		t.Run("refused "+in, func(t *testing.T) {
			got, err := wire.ParseOptions(in)
			if err == nil || claimpool.AsError(err).Code != claimpool.CodeSyntaxError {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestParsePassword(t *testing.T) {
	body := []byte("geheim\x00")
	secret, err := wire.ParsePassword(body)
	if err != nil || !bytes.Equal(secret, []byte("geheim")) {
		t.Fatalf("%v", err)
	}
	secret.Clear()
	if !bytes.Equal(body, make([]byte, 7)) {
		t.Error("clearing the secret leaves the message")
	}
	if s, err := wire.ParsePassword([]byte{0}); err != nil || len(s) != 0 {
		t.Error("empty password")
	}
	refusals(t, true, map[string]string{
		"empty": "", "no end": "geheim", "NUL inside": "ge\x00heim\x00", "bytes behind the end": "geheim\x00\x00",
	}, func(b []byte) error { _, err := wire.ParsePassword(b); return err })
}

func TestParseSASLInitial(t *testing.T) {
	mech, data, has, err := wire.ParseSASLInitial([]byte("M\x00\x00\x00\x00\x02ab"))
	if mech != "M" || string(data) != "ab" || !has || err != nil {
		t.Errorf("got %q, %q, %v, %v", mech, data, has, err)
	}
	mech, _, has, err = wire.ParseSASLInitial([]byte("M\x00\xff\xff\xff\xff"))
	if mech != "M" || has || err != nil {
		t.Errorf("without a response: %q, %v, %v", mech, has, err)
	}
	refusals(t, true, map[string]string{
		"empty":            "",
		"no end":           "M",
		"no length":        "M\x00\x00\x00",
		"too short":        "M\x00\x00\x00\x00\x03ab",
		"too long":         "M\x00\x00\x00\x00\x01ab",
		"negative":         "M\x00\xff\xff\xff\xfe",
		"none, but bytes":  "M\x00\xff\xff\xff\xffab",
		"the highest size": "M\x00\x7f\xff\xff\xffab",
	}, func(b []byte) error { _, _, _, err := wire.ParseSASLInitial(b); return err })
}

func TestParseAuth(t *testing.T) {
	code, rest, err := wire.ParseAuth([]byte("\x00\x00\x00\x05salt"))
	if code != wire.AuthMD5 || string(rest) != "salt" || err != nil {
		t.Errorf("got %d, %q, %v", code, rest, err)
	}
	refusals(t, false, map[string]string{
		"empty":                "",
		"three bytes":          "\x00\x00\x00",
		"ok with more":         "\x00\x00\x00\x00x",
		"cleartext with more":  "\x00\x00\x00\x03x",
		"salt of three bytes":  "\x00\x00\x00\x05sal",
		"salt of 64 kilobytes": "\x00\x00\x00\x05" + strings.Repeat("s", 1<<16),
	}, func(b []byte) error { _, _, err := wire.ParseAuth(b); return err })

	mechs, err := wire.ParseSASLMechanisms([]byte("A\x00B\x00\x00"))
	if err != nil || !cmp.Equal(mechs, []string{"A", "B"}) {
		t.Errorf("got %q, %v", mechs, err)
	}
	refusals(t, false, map[string]string{
		"mechanisms empty":     "",
		"mechanisms no end":    "A\x00B\x00",
		"mechanisms then more": "A\x00\x00B\x00",
		"mechanisms too many":  strings.Repeat("A\x00", 1000) + "\x00",
	}, func(b []byte) error { _, err := wire.ParseSASLMechanisms(b); return err })
}

func TestParseServerMessages(t *testing.T) {
	name, value, err := wire.ParseParameterStatus([]byte("a\x00\x00"))
	if name != "a" || value != "" || err != nil {
		t.Errorf("ParameterStatus: %q, %q, %v", name, value, err)
	}
	refusals(t, false, map[string]string{
		"status empty": "", "status no value": "a\x00", "status no end": "a\x00b", "status more": "a\x00b\x00c", "status no name": "\x00b\x00",
	}, func(b []byte) error { _, _, err := wire.ParseParameterStatus(b); return err })

	pid, secret, err := wire.ParseBackendKeyData([]byte("\xff\x00\x00\x01abcd"))
	if pid != 0xff000001 || string(secret) != "abcd" || err != nil {
		t.Errorf("BackendKeyData: %x, %q, %v", pid, secret, err)
	}
	refusals(t, false, map[string]string{
		"key data empty": "", "key of 3 bytes": "\x00\x00\x00\x01abc", "key of 257 bytes": strings.Repeat("k", 4+257),
	}, func(b []byte) error { _, _, err := wire.ParseBackendKeyData(b); return err })

	newest, unknown, err := wire.ParseNegotiateProtocolVersion([]byte("\x00\x03\x00\x00\x00\x00\x00\x01_pq_.x\x00"))
	if newest != wire.Version30 || !cmp.Equal(unknown, []string{"_pq_.x"}) || err != nil {
		t.Errorf("NegotiateProtocolVersion: %x, %q, %v", newest, unknown, err)
	}
	refusals(t, false, map[string]string{
		"negotiation empty":     "",
		"negotiation no names":  "\x00\x03\x00\x00\x00\x00\x00\x01",
		"negotiation no end":    "\x00\x03\x00\x00\x00\x00\x00\x01x",
		"negotiation more":      "\x00\x03\x00\x00\x00\x00\x00\x00x",
		"negotiation negative":  "\x00\x03\x00\x00\xff\xff\xff\xff",
		"negotiation very many": "\x00\x03\x00\x00\x00\x01\x00\x00" + strings.Repeat("\x00", 1<<16),
	}, func(b []byte) error { _, _, err := wire.ParseNegotiateProtocolVersion(b); return err })

	tag, err := wire.CommandTag([]byte("INSERT 0 1\x00"))
	if tag != "INSERT 0 1" || err != nil {
		t.Errorf("CommandComplete: %q, %v", tag, err)
	}
	refusals(t, false, map[string]string{"tag empty": "", "tag no end": "X", "tag more": "X\x00Y\x00"},
		func(b []byte) error { _, err := wire.CommandTag(b); return err })

	status, err := wire.ParseReadyForQuery([]byte("T"))
	if status != wire.StatusInTransaction || err != nil {
		t.Errorf("ReadyForQuery: %q, %v", status, err)
	}
	refusals(t, false, map[string]string{"status nothing": "", "status unknown": "X", "status two": "II"},
		func(b []byte) error { _, err := wire.ParseReadyForQuery(b); return err })

	result, err := wire.ParseFunctionCallResponse([]byte("\x00\x00\x00\x02ok"))
	if string(result) != "ok" || err != nil {
		t.Errorf("FunctionCallResponse: %q, %v", result, err)
	}
	if result, err = wire.ParseFunctionCallResponse([]byte("\xff\xff\xff\xff")); result != nil || err != nil {
		t.Errorf("FunctionCallResponse NULL: %q, %v", result, err)
	}
	if result, err = wire.ParseFunctionCallResponse([]byte("\x00\x00\x00\x00")); result == nil || err != nil {
		t.Errorf("FunctionCallResponse empty: %q, %v", result, err)
	}
	refusals(t, false, map[string]string{
		"result empty": "", "result short": "\x00\x00\x00\x02o", "result long": "\x00\x00\x00\x02oko",
		"result negative": "\xff\xff\xff\xfe", "result NULL and bytes": "\xff\xff\xff\xffx",
	}, func(b []byte) error { _, err := wire.ParseFunctionCallResponse(b); return err })
}

func TestParseDataRow(t *testing.T) {
	row, err := wire.ParseDataRow([]byte("\x00\x03\x00\x00\x00\x02ab\xff\xff\xff\xff\x00\x00\x00\x00"))
	if err != nil || !cmp.Equal(row, []string{"ab", "", ""}) {
		t.Errorf("got %q, %v", row, err)
	}
	if row, err := wire.ParseDataRow([]byte("\x00\x00")); err != nil || len(row) != 0 {
		t.Errorf("no columns: %q, %v", row, err)
	}
	refusals(t, false, map[string]string{
		"empty": "", "no values": "\x00\x01", "value cut": "\x00\x01\x00\x00\x00\x02a", "bytes behind": "\x00\x00x",
		"negative length": "\x00\x01\xff\xff\xff\xfe", "highest length": "\x00\x01\x7f\xff\xff\xff", "highest count": "\xff\xff",
	}, func(b []byte) error { _, err := wire.ParseDataRow(b); return err })
}

func TestParseError(t *testing.T) {
	in := "SFEHLER\x00VERROR\x00C42P01\x00Mno table\x00DDetail.\x00HHint.\x00P15\x00Fparse.c\x00Xunknown\x00\x00"
	f, err := wire.ParseError([]byte(in))
	want := wire.ErrorFields{Severity: "ERROR", Code: "42P01", Message: "no table", Detail: "Detail.", Hint: "Hint."}
	if err != nil || f != want {
		t.Errorf("got %+v, %v", f, err)
	}
	if f, _ := wire.ParseError([]byte("SFATAL\x00Mm\x00\x00")); f.Severity != "FATAL" {
		t.Errorf("old server: %+v", f)
	}
	refusals(t, false, map[string]string{
		"empty": "", "no terminator": "Mm\x00", "field without an end": "Mm", "bytes behind": "Mm\x00\x00x",
	}, func(b []byte) error { _, err := wire.ParseError(b); return err })
}

// TestAttackErrorFromHostileServer: the attacker is the server, or sits before it. Its errors lack the SQLSTATE (on which
// PgBouncer crashed, CVE-2026-6666), repeat fields, or are endless.
//
// Must: Clients must get a whole error of a sane size.
func TestAttackErrorFromHostileServer(t *testing.T) {
	tests := []struct {
		name, in string
		code     claimpool.Code
		message  string
	}{
		{"no fields at all", "\x00", "XX000", "the server sent an error without a message"},
		{"no SQLSTATE", "Mm\x00\x00", "XX000", "m"},
		{"SQLSTATE too short", "C42\x00Mm\x00\x00", "XX000", "m"},
		{"SQLSTATE of strange characters", "C4\n\xff01\x00Mm\x00\x00", "XX000", "m"},
		{"SQLSTATE twice", "C42P01\x00C00000\x00Mm\x00\x00", "42P01", "m"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := wire.ParseError([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if e := f.ClaimpoolError(); e.Code != tt.code || e.Message != tt.message {
				t.Errorf("got %s %q", e.Code, e.Message)
			}
		})
	}
	f, err := wire.ParseError([]byte("M" + strings.Repeat("ü", 1<<20) + "\x00\x00"))
	if err != nil || len(f.Message) > 8<<10 || strings.Trim(f.Message, "ü") != "" || f.Message == "" {
		t.Errorf("long message: %d bytes, %v", len(f.Message), err)
	}
	f, err = wire.ParseError([]byte("M" + strings.Repeat("\x80", 1<<20) + "\x00\x00"))
	if err != nil || len(f.Message) > 8<<10 || f.Message == "" {
		t.Errorf("long message that is not UTF-8: %d bytes, %v", len(f.Message), err)
	}
}
