package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/claimpool/claimpool/wire"
)

// FuzzParseStartup: what we accept is rebuilt to the same bytes, and pgproto3 reads the same parameters.
func FuzzParseStartup(f *testing.F) {
	f.Add([]byte("\x00\x03\x00\x00user\x00ann\x00database\x00d\x00\x00"))
	f.Add([]byte("\x00\x03\x00\x02user\x00\x00\x00"))
	f.Add([]byte("\x00\x03\x00\x00\x00"))
	f.Add([]byte("\x04\xd2\x16\x2f"))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := wire.ParseStartup(body)
		if err != nil {
			return
		}
		if again := wire.AppendStartup(nil, s.Version, s.Params); !bytes.Equal(again[4:], body) {
			t.Fatalf("%q becomes %q", body, again[4:])
		}
		var ref pgproto3.StartupMessage
		if len(s.Params) == 0 || s.Version != wire.Version30 && s.Version != wire.Version32 {
			return // pgproto3 reads neither
		}
		if err := ref.Decode(body); err != nil || len(ref.Parameters) != len(s.Params) {
			t.Fatalf("pgproto3 reads %q, %v", ref.Parameters, err)
		}
		for _, p := range s.Params {
			if ref.Parameters[p[0]] != p[1] || s.Get(p[0]) != p[1] {
				t.Fatalf("parameter %q: %q, pgproto3 %q", p[0], p[1], ref.Parameters[p[0]])
			}
		}
	})
}

// FuzzParseCancel: we accept what pgproto3 accepts, within the lengths of the protocol.
func FuzzParseCancel(f *testing.F) {
	f.Add([]byte("\x04\xd2\x16\x2e\x00\x00\x00\x01abcd"))
	f.Add([]byte("\x04\xd2\x16\x2e\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		pid, secret, err := wire.ParseCancel(body)
		var ref pgproto3.CancelRequest
		refErr := ref.Decode(body)
		if err == nil && (refErr != nil || ref.ProcessID != pid || !bytes.Equal(ref.SecretKey, secret)) {
			t.Fatalf("pgproto3 reads %+v, %v", ref, refErr)
		}
		if err != nil && refErr == nil && len(ref.SecretKey) >= 4 && len(ref.SecretKey) <= 256 {
			t.Fatalf("refused: %v", err)
		}
	})
}

// FuzzParseSASLInitial: what we accept, pgproto3 reads alike.
func FuzzParseSASLInitial(f *testing.F) {
	f.Add([]byte("SCRAM-SHA-256\x00\x00\x00\x00\x03n,,"))
	f.Add([]byte("M\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		mech, data, has, err := wire.ParseSASLInitial(body)
		if err != nil {
			return
		}
		var ref pgproto3.SASLInitialResponse
		if err := ref.Decode(body); err != nil || ref.AuthMechanism != mech || has && !bytes.Equal(ref.Data, data) {
			t.Fatalf("pgproto3 reads %+v, %v", ref, err)
		}
		if again := wire.AppendSASLInitial(nil, mech, data); has && !bytes.Equal(again[5:], body) {
			t.Fatalf("%q becomes %q", body, again[5:])
		}
	})
}

// FuzzParseError: what we accept, pgproto3 accepts; rebuilt as our own error it stays the same.
func FuzzParseError(f *testing.F) {
	f.Add([]byte("SERROR\x00VERROR\x00C42P01\x00Mm\x00Dd\x00Hh\x00\x00"))
	f.Add([]byte("\x00"))
	f.Add([]byte("M\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, err := wire.ParseError(body)
		if err != nil {
			return
		}
		var ref pgproto3.ErrorResponse
		if err := ref.Decode(body); err != nil {
			t.Fatalf("pgproto3: %v", err)
		}
		e := fields.ClaimpoolError()
		again, err := wire.ParseError(wire.AppendError(nil, "ERROR", e)[5:])
		if err != nil || again.Code != string(e.Code) || again.Message != e.Message || again.Detail != e.Detail || again.Hint != e.Hint {
			t.Fatalf("%+v becomes %+v, %v", e, again, err)
		}
		if len(e.Code) != 5 || e.Message == "" {
			t.Fatalf("incomplete: %+v", e)
		}
	})
}

// FuzzParseServerMessages: the decoders of what a server sends survive everything, and agree with pgproto3.
func FuzzParseServerMessages(f *testing.F) {
	f.Add([]byte("TimeZone\x00UTC\x00"))
	f.Add([]byte("\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"))
	f.Add([]byte("\x00\x03\x00\x02\x00\x00\x00\x01_pq_.x\x00"))
	f.Add([]byte("\x00\x00\x00\x02ok"))
	f.Add([]byte("\x00\x02\x00\x00\x00\x02ab\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if name, value, err := wire.ParseParameterStatus(body); err == nil {
			var ref pgproto3.ParameterStatus
			if err := ref.Decode(body); err != nil || ref.Name != name || ref.Value != value {
				t.Fatalf("ParameterStatus: %+v, %v", ref, err)
			}
		}
		if pid, secret, err := wire.ParseBackendKeyData(body); err == nil {
			var ref pgproto3.BackendKeyData
			if err := ref.Decode(body); err != nil || ref.ProcessID != pid || !bytes.Equal(ref.SecretKey, secret) {
				t.Fatalf("BackendKeyData: %+v, %v", ref, err)
			}
		}
		if newest, unknown, err := wire.ParseNegotiateProtocolVersion(body); err == nil {
			var ref pgproto3.NegotiateProtocolVersion
			err := ref.Decode(body)
			if err != nil || ref.NewestMinorProtocol != newest || strings.Join(ref.UnrecognizedOptions, "\x00") != strings.Join(unknown, "\x00") {
				t.Fatalf("NegotiateProtocolVersion: %+v, %v", ref, err)
			}
		}
		if tag, err := wire.CommandTag(body); err == nil {
			var ref pgproto3.CommandComplete
			if err := ref.Decode(body); err != nil || string(ref.CommandTag) != tag {
				t.Fatalf("CommandComplete: %+v, %v", ref, err)
			}
		}
		if value, err := wire.ParseFunctionCallResponse(body); err == nil {
			var ref pgproto3.FunctionCallResponse
			if err := ref.Decode(body); err != nil || !bytes.Equal(ref.Result, value) {
				t.Fatalf("FunctionCallResponse: %+v, %v", ref, err)
			}
		}
		if row, err := wire.ParseDataRow(body); err == nil {
			var ref pgproto3.DataRow
			if err := ref.Decode(body); err != nil || len(ref.Values) != len(row) {
				t.Fatalf("DataRow: %+v, %v", ref, err)
			}
			for i := range row {
				if row[i] != string(ref.Values[i]) {
					t.Fatalf("DataRow: %q, pgproto3 %q", row[i], ref.Values[i])
				}
			}
		}
		if code, rest, err := wire.ParseAuth(body); err == nil && code == wire.AuthSASL {
			_, _ = wire.ParseSASLMechanisms(rest)
		}
		_, _ = wire.ParseReadyForQuery(body)
		_, _ = wire.ParsePassword(body)
	})
}

// FuzzParseOptions: settings written as a command line come back as they were, and nothing breaks the parser.
func FuzzParseOptions(f *testing.F) {
	f.Add("-c a=b --c=d", "search_path", "a, b")
	f.Add(`-c a=\`, "x", `\`)
	f.Fuzz(func(t *testing.T, any, name, value string) {
		_, _ = wire.ParseOptions(any)
		if name == "" || strings.ContainsAny(name, "=-") {
			return
		}
		escape := func(s string) string {
			var b strings.Builder
			for i := 0; i < len(s); i++ {
				b.WriteByte('\\')
				b.WriteByte(s[i])
			}
			return b.String()
		}
		got, err := wire.ParseOptions("-c " + escape(name+"="+value))
		if err != nil || len(got) != 1 || got[0] != [2]string{name, value} {
			t.Fatalf("%q=%q: got %q, %v", name, value, got, err)
		}
	})
}
