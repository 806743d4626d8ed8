package wire_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/claimpool/claimpool/wire"
)

func TestTablesAgainstPgproto3(t *testing.T) {
	fields := []wire.Field{{Name: "a", Type: 25, Size: -1}, {Name: "n", Type: 20, Size: 8}}
	same(t, []pair{
		{"RowDescription", wire.AppendRowDescription(nil, fields, []uint16{0, 1}), &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
			{Name: []byte("a"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1},
			{Name: []byte("n"), DataTypeOID: 20, DataTypeSize: 8, TypeModifier: -1, Format: 1},
		}}},
		{"DataRow", wire.AppendDataRow(nil, [][]byte{[]byte("x"), nil, {}}), &pgproto3.DataRow{Values: [][]byte{[]byte("x"), nil, {}}}},
		{"ParameterDescription", wire.AppendParameterDescription(nil, 25, 20), &pgproto3.ParameterDescription{ParameterOIDs: []uint32{25, 20}}},
		{"ParseComplete", wire.AppendBare(nil, wire.MsgParseComplete), &pgproto3.ParseComplete{}},
		{"BindComplete", wire.AppendBare(nil, wire.MsgBindComplete), &pgproto3.BindComplete{}},
		{"CloseComplete", wire.AppendBare(nil, wire.MsgCloseComplete), &pgproto3.CloseComplete{}},
		{"NoData", wire.AppendBare(nil, wire.MsgNoData), &pgproto3.NoData{}},
		{"EmptyQueryResponse", wire.AppendBare(nil, wire.MsgEmptyQueryResponse), &pgproto3.EmptyQueryResponse{}},
		{"PortalSuspended", wire.AppendBare(nil, wire.MsgPortalSuspended), &pgproto3.PortalSuspended{}},
	})
}

// body takes the header off a message of pgproto3.
func body(t *testing.T, m encoder) []byte {
	t.Helper()
	b, err := m.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b[wire.HeaderLen:]
}

func TestParseExtended(t *testing.T) {
	p, err := wire.ParseParse(body(t, &pgproto3.Parse{Name: "s", Query: "SHOW POOLS", ParameterOIDs: []uint32{25}}))
	if diff := cmp.Diff(wire.Parse{Name: "s", SQL: "SHOW POOLS", Types: []uint32{25}}, p); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	b, err := wire.ParseBind(body(t, &pgproto3.Bind{
		DestinationPortal: "p", PreparedStatement: "s", ParameterFormatCodes: []int16{1}, Parameters: [][]byte{[]byte("x"), nil, {}}, ResultFormatCodes: []int16{0, 1},
	}))
	want := wire.Bind{Portal: "p", Statement: "s", Formats: []uint16{1}, Arguments: [][]byte{[]byte("x"), nil, {}}, Results: []uint16{0, 1}}
	if diff := cmp.Diff(want, b); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	kind, name, err := wire.ParseTarget(body(t, &pgproto3.Describe{ObjectType: 'S', Name: "s"}))
	if kind != wire.KindStatement || name != "s" || err != nil {
		t.Errorf("%c %q %v", kind, name, err)
	}
	portal, most, err := wire.ParseExecute(body(t, &pgproto3.Execute{Portal: "p", MaxRows: 7}))
	if portal != "p" || most != 7 || err != nil {
		t.Errorf("%q %d %v", portal, most, err)
	}
	sql, err := wire.ParseQuery(body(t, &pgproto3.Query{String: "SHOW POOLS"}))
	if sql != "SHOW POOLS" || err != nil {
		t.Errorf("%q %v", sql, err)
	}
}

func TestFormat(t *testing.T) {
	for _, tc := range []struct {
		codes []uint16
		i     int
		want  bool
	}{{nil, 3, false}, {[]uint16{1}, 3, true}, {[]uint16{0, 1}, 1, true}, {[]uint16{0, 1}, 0, false}, {[]uint16{0, 1}, 5, false}} {
		if got := wire.Binary(tc.codes, tc.i); got != tc.want {
			t.Errorf("%v, %d: %v", tc.codes, tc.i, got)
		}
	}
}

// TestAttackExtendedBodies: the attacker has a client that the proxy answers itself, and sends messages whose counts and lengths lie.
//
// Must: Each must be refused with 08P01, without a panic and without memory for what was only announced.
// Dialects: none
func TestAttackExtendedBodies(t *testing.T) {
	parsers := map[string]func([]byte) error{
		"Query":    func(b []byte) error { _, err := wire.ParseQuery(b); return err },
		"Parse":    func(b []byte) error { _, err := wire.ParseParse(b); return err },
		"Bind":     func(b []byte) error { _, err := wire.ParseBind(b); return err },
		"Describe": func(b []byte) error { _, _, err := wire.ParseTarget(b); return err },
		"Execute":  func(b []byte) error { _, _, err := wire.ParseExecute(b); return err },
	}
	for name, bodies := range map[string][]string{
		"Query":    {"", "x", "x\x00y", "x\x00\x00"},
		"Parse":    {"", "a\x00", "a\x00b\x00", "a\x00b\x00\xff\xff", "a\x00b\x00\x00\x01\x00\x00\x00", "a\x00b\x00\x00\x00z"},
		"Bind":     {"", "\x00\x00\xff\xff", "\x00\x00\x00\x00\xff\xff", "\x00\x00\x00\x00\x00\x01\x7f\xff\xff\xff", "\x00\x00\x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00", "\x00\x00\x00\x01\x00\x02\x00\x00\x00\x00", "\x00\x00\x00\x02\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00z"},
		"Describe": {"", "S", "Sx", "Xx\x00", "Sx\x00y"},
		"Execute":  {"", "p\x00", "p\x00\x00\x00\x00", "p\x00\x00\x00\x00\x00z"},
	} {
		refusals(t, true, indexed(bodies), parsers[name])
	}
}

// indexed names bodies by themselves.
func indexed(bodies []string) map[string]string {
	m := map[string]string{}
	for _, b := range bodies {
		m[b] = b
	}
	return m
}

func FuzzParseExtended(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x01\x00\x01\x00\x00\x00\x01x\x00\x00"))
	f.Add([]byte("s\x00SHOW POOLS\x00\x00\x01\x00\x00\x00\x19"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := wire.ParseBind(b); err == nil && len(got.Arguments)+len(got.Formats)+len(got.Results) > len(b) {
			t.Errorf("more came out than went in")
		}
		wire.ParseParse(b)
		wire.ParseQuery(b)
		wire.ParseTarget(b)
		wire.ParseExecute(b)
	})
}
