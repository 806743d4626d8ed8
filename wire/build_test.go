package wire_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// encoder is what all messages of pgproto3 can do.
type encoder interface {
	Encode(dst []byte) ([]byte, error)
}

// pair is one message built twice.
type pair struct {
	name string
	ours []byte
	ref  encoder
}

// same checks that our bytes are pgproto3's.
func same(t *testing.T, tests []pair) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, err := tt.ref.Encode(nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, tt.ours); diff != "" {
				t.Errorf("bytes differ from pgproto3's (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServerMessagesAgainstPgproto3(t *testing.T) {
	e := &claimpool.Error{Code: "28P01", Message: "m", Detail: "D.", Hint: "H.", Cause: io.EOF}
	same(t, []pair{
		{"AuthenticationOk", wire.AppendAuthOK(nil), &pgproto3.AuthenticationOk{}},
		{"AuthenticationCleartextPassword", wire.AppendAuthCleartext(nil), &pgproto3.AuthenticationCleartextPassword{}},
		{"AuthenticationMD5Password", wire.AppendAuthMD5(nil, [4]byte{1, 0, 255, 7}),
			&pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 0, 255, 7}}},
		{"AuthenticationSASL", wire.AppendAuthSASL(nil, "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"),
			&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}}},
		{"AuthenticationSASLContinue", wire.AppendAuthSASLContinue(nil, []byte("r=x")),
			&pgproto3.AuthenticationSASLContinue{Data: []byte("r=x")}},
		{"AuthenticationSASLFinal", wire.AppendAuthSASLFinal(nil, []byte("v=x")),
			&pgproto3.AuthenticationSASLFinal{Data: []byte("v=x")}},
		{"ParameterStatus", wire.AppendParameterStatus(nil, "TimeZone", "Europe/Zürich"),
			&pgproto3.ParameterStatus{Name: "TimeZone", Value: "Europe/Zürich"}},
		{"BackendKeyData 3.0", wire.AppendBackendKeyData(nil, 1<<32-1, []byte{1, 2, 3, 4}),
			&pgproto3.BackendKeyData{ProcessID: 1<<32 - 1, SecretKey: []byte{1, 2, 3, 4}}},
		{"BackendKeyData 3.2", wire.AppendBackendKeyData(nil, 42, bytes.Repeat([]byte{9}, 256)),
			&pgproto3.BackendKeyData{ProcessID: 42, SecretKey: bytes.Repeat([]byte{9}, 256)}},
		{"ReadyForQuery", wire.AppendReadyForQuery(nil, wire.StatusFailed), &pgproto3.ReadyForQuery{TxStatus: 'E'}},
		{"NegotiateProtocolVersion", wire.AppendNegotiateProtocolVersion(nil, wire.Version32, []string{"_pq_.a", "_pq_.b"}),
			&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 196610, UnrecognizedOptions: []string{"_pq_.a", "_pq_.b"}}},
		{"ErrorResponse", wire.AppendError(nil, "FATAL", e), &pgproto3.ErrorResponse{
			Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "28P01", Message: "m", Detail: "D.", Hint: "H."}},
		{"ErrorResponse of nothing", wire.AppendError(nil, "ERROR", nil), &pgproto3.ErrorResponse{
			Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "XX000", Message: "internal error"}},
		{"ErrorResponse with a code that is none", wire.AppendError(nil, "ERROR", &claimpool.Error{Code: "?", Message: "m"}),
			&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "XX000", Message: "m"}},
		{"NoticeResponse", wire.AppendNotice(nil, &claimpool.Error{Code: "00000", Message: "n"}), &pgproto3.NoticeResponse{
			Severity: "NOTICE", SeverityUnlocalized: "NOTICE", Code: "00000", Message: "n"}},
		{"CommandComplete", wire.AppendCommandComplete(nil, "SET"), &pgproto3.CommandComplete{CommandTag: []byte("SET")}},
		{"NoticeResponse that warns", wire.AppendWarning(nil, &claimpool.Error{Code: "01000", Message: "n"}), &pgproto3.NoticeResponse{
			Severity: "WARNING", SeverityUnlocalized: "WARNING", Code: "01000", Message: "n"}},
	})
}

func TestClientMessagesAgainstPgproto3(t *testing.T) {
	same(t, []pair{
		{"StartupMessage", wire.AppendStartup(nil, wire.Version32, [][2]string{{"user", "u"}}),
			&pgproto3.StartupMessage{ProtocolVersion: 196610, Parameters: map[string]string{"user": "u"}}},
		{"SSLRequest", wire.AppendSSLRequest(nil), &pgproto3.SSLRequest{}},
		{"CancelRequest", wire.AppendCancelRequest(nil, 7, []byte{1, 2, 3, 4}),
			&pgproto3.CancelRequest{ProcessID: 7, SecretKey: []byte{1, 2, 3, 4}}},
		{"PasswordMessage", wire.AppendPassword(nil, claimpool.Secret("geheim")), &pgproto3.PasswordMessage{Password: "geheim"}},
		{"SASLInitialResponse", wire.AppendSASLInitial(nil, "SCRAM-SHA-256", []byte("n,,n=,r=x")),
			&pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,n=,r=x")}},
		{"SASLResponse", wire.AppendSASLResponse(nil, []byte("c=biws")), &pgproto3.SASLResponse{Data: []byte("c=biws")}},
		{"Query", wire.AppendQuery(nil, "select 1"), &pgproto3.Query{String: "select 1"}},
		{"FunctionCall", wire.AppendFunctionCall(nil, 2078, []byte("a"), nil, []byte{}),
			&pgproto3.FunctionCall{Function: 2078, Arguments: [][]byte{[]byte("a"), nil, {}}}},
		{"FunctionCall, binary", wire.AppendBinaryCall(nil, 4711, []byte{0, 255}),
			&pgproto3.FunctionCall{Function: 4711, ArgFormatCodes: []uint16{1}, Arguments: [][]byte{{0, 255}}, ResultFormatCode: 1}},
		{"Parse", wire.AppendParse(nil, "s", "select $1", 25, 0),
			&pgproto3.Parse{Name: "s", Query: "select $1", ParameterOIDs: []uint32{25, 0}}},
		{"Bind", wire.AppendBind(nil, "p", "s", [][]byte{[]byte("v"), nil}),
			&pgproto3.Bind{DestinationPortal: "p", PreparedStatement: "s", Parameters: [][]byte{[]byte("v"), nil}}},
		{"Describe", wire.AppendDescribe(nil, wire.KindStatement, "s"), &pgproto3.Describe{ObjectType: 'S', Name: "s"}},
		{"Execute", wire.AppendExecute(nil, "p", 3), &pgproto3.Execute{Portal: "p", MaxRows: 3}},
		{"Close", wire.AppendClose(nil, wire.KindPortal, "p"), &pgproto3.Close{ObjectType: 'P', Name: "p"}},
		{"Sync", wire.AppendSync(nil), &pgproto3.Sync{}},
		{"Flush", wire.AppendFlush(nil), &pgproto3.Flush{}},
		{"Terminate", wire.AppendTerminate(nil), &pgproto3.Terminate{}},
		{"CopyData", wire.AppendCopyData(nil, []byte("row\n")), &pgproto3.CopyData{Data: []byte("row\n")}},
		{"CopyDone", wire.AppendCopyDone(nil), &pgproto3.CopyDone{}},
		{"CopyFail", wire.AppendCopyFail(nil, "no"), &pgproto3.CopyFail{Message: "no"}},
	})
}

// TestBuildersAppend checks that what stands before a message stays.
func TestBuildersAppend(t *testing.T) {
	got := wire.AppendQuery(wire.AppendSync([]byte("before")), "select 1")
	want := "before" + "S\x00\x00\x00\x04" + "Q\x00\x00\x00\x0dselect 1\x00"
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestBuildersDoNotAllocate holds the builders of the hot path at zero allocations.
func TestBuildersDoNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 4096)
	claims, seal := []byte(`{"sub":"a"}`), []byte("seal")
	e := &claimpool.Error{Code: "XX000", Message: "m"}
	n := testing.AllocsPerRun(100, func() {
		b := wire.AppendFunctionCall(dst, 2078, claims, seal)
		b = wire.AppendQuery(b, "rollback")
		b = wire.AppendParse(b, "s", "select $1", 25)
		b = wire.AppendSync(b)
		b = wire.AppendParameterStatus(b, "TimeZone", "UTC")
		b = wire.AppendError(b, "ERROR", e)
		b = wire.AppendReadyForQuery(b, wire.StatusIdle)
		if len(b) > cap(dst) {
			t.Error("test buffer too small")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAttackNULByteInValue: the attacker controls a value that we send, for instance a name from a token. He puts a NUL byte
// into it, so that "x\x00user\x00postgres" would log in to the server as another role.
//
// Must: The value must end at its NUL byte, and the message must have exactly the fields that we meant.
func TestAttackNULByteInValue(t *testing.T) {
	b := wire.AppendStartup(nil, wire.Version30, [][2]string{
		{"user", "app"}, {"application_name", "x\x00user\x00postgres"}, {"\x00user", "postgres"}, {"", "lost"}, {"database", "d"},
	})
	s, err := wire.ParseStartup(b[4:])
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]string{{"user", "app"}, {"application_name", "x"}, {"database", "d"}}
	if diff := cmp.Diff(want, s.Params); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}

	for name, msg := range map[string][]byte{
		"error":  wire.AppendError(nil, "ERROR", &claimpool.Error{Code: "28P01", Message: "a\x00C00000\x00", Hint: "\x00"}),
		"query":  wire.AppendQuery(nil, "select 1\x00drop table t"),
		"parse":  wire.AppendParse(nil, "s\x00", "select 1\x00"),
		"secret": wire.AppendPassword(nil, []byte("pass\x00word")),
	} {
		typ, n, ok, err := wire.Header(msg)
		if err != nil || !ok || n != len(msg)-wire.HeaderLen {
			t.Errorf("%s: header (%q, %d, %v, %v) for %d bytes", name, typ, n, ok, err, len(msg))
		}
	}
	f, err := wire.ParseError(wire.AppendError(nil, "ERROR", &claimpool.Error{Code: "28P01", Message: "a\x00C00000\x00"})[5:])
	if err != nil || f.Code != "28P01" || f.Message != "a" {
		t.Errorf("got %+v, %v", f, err)
	}
}

// TestAttackLengthWrap: the attacker makes us send a value of more than 4 GiB, so that its length wraps around and its rest is
// read as messages (CVE-2024-27304).
//
// Must: Such a message must not be built at all.
func TestAttackLengthWrap(t *testing.T) {
	huge := make([]byte, 1<<30+1) // never touched, so it costs no memory
	for name, build := range map[string]func(){
		"value":     func() { wire.AppendFunctionCall(nil, 1, huge) },
		"arguments": func() { wire.AppendFunctionCall(nil, 1, make([][]byte, 1<<16)...) },
		"types":     func() { wire.AppendParse(nil, "", "", make([]uint32, 1<<16)...) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("the message was built")
				}
			}()
			build()
		})
	}
}

// FuzzBuilders puts any strings into messages: pgproto3 must read exactly one message of the right kind, whatever the
// strings hold.
func FuzzBuilders(f *testing.F) {
	f.Add("a", "b", []byte("c"))
	f.Add("a\x00Sb", "\x00", []byte{0})
	f.Add("", "", []byte(nil))
	f.Fuzz(func(t *testing.T, a, b string, c []byte) {
		one := func(server bool, msg []byte) {
			t.Helper()
			r := bytes.NewReader(msg)
			var err, second error
			if server {
				p := pgproto3.NewFrontend(r, io.Discard)
				_, err = p.Receive()
				_, second = p.Receive()
			} else {
				p := pgproto3.NewBackend(r, io.Discard)
				_, err = p.Receive()
				_, second = p.Receive()
			}
			if err != nil || second == nil {
				t.Errorf("%q: %v, then %v", msg, err, second)
			}
		}
		e := &claimpool.Error{Code: claimpool.Code(a), Message: b, Detail: a, Hint: string(c)}
		one(true, wire.AppendError(nil, a, e))
		one(true, wire.AppendNotice(nil, e))
		one(true, wire.AppendParameterStatus(nil, a, b))
		one(false, wire.AppendQuery(nil, a))
		one(false, wire.AppendParse(nil, a, b, 1, 2))
		one(false, wire.AppendBind(nil, a, b, [][]byte{c, nil, c}))
		one(false, wire.AppendFunctionCall(nil, 1, c, nil))
		one(false, wire.AppendDescribe(nil, 'S', a))
		one(false, wire.AppendClose(nil, 'P', a))
		one(false, wire.AppendExecute(nil, a, 1))
		one(false, wire.AppendCopyFail(nil, a))
		one(false, wire.AppendCopyData(nil, c))
	})
}
