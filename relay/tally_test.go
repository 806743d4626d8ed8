package relay_test

import (
	"math"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/relay"
	"github.com/claimpool/claimpool/wire"
)

// answers makes messages of words: "D" is a row, "C:tag", "E:code", "Z:status", and "s" and "V" as in the protocol.
func answers(words string) (b []byte) {
	for word := range strings.FieldsSeq(words) {
		kind, value, _ := strings.Cut(word, ":")
		value = strings.ReplaceAll(value, "_", " ")
		switch kind {
		case "C":
			b = wire.AppendCommandComplete(b, value)
		case "E":
			b = wire.AppendError(b, "ERROR", &claimpool.Error{Code: claimpool.Code(value), Message: "no"})
		case "Z":
			b = wire.AppendReadyForQuery(b, value[0])
		default:
			b = append(b, kind[0], 0, 0, 0, byte(4+len(value)))
			b = append(b, value...)
		}
	}
	return b
}

func TestTally(t *testing.T) {
	for _, test := range []struct {
		name, answers string
		want          relay.Tally
	}{
		{"a query", "T:x D:ab D:ab C:SELECT_2 Z:I", relay.Tally{Rows: 2, Transactions: 1, Outcome: "commit"}},
		{"nothing but a preparation", "1 t:x n Z:I", relay.Tally{}},
		{"changes", "C:BEGIN Z:T C:INSERT_0_5 Z:T C:UPDATE_2 C:DELETE_1 C:MERGE_3 Z:T C:COMMIT Z:I", relay.Tally{Rows: 11, Transactions: 1, Outcome: "commit"}},
		{"changes that are told", "D:x D:x C:INSERT_0_2 Z:I", relay.Tally{Rows: 2, Transactions: 1, Outcome: "commit"}},
		{"a copy", "H:x d:abc d:abc c C:COPY_7 Z:I", relay.Tally{Rows: 7, Transactions: 1, Outcome: "commit"}},
		{"a table of a query", "C:SELECT_9 Z:I", relay.Tally{Rows: 9, Transactions: 1, Outcome: "commit"}},
		{"in pieces", "D:x D:x s Z:T D:x s Z:T D:x C:SELECT_1 C:COMMIT Z:I", relay.Tally{Rows: 4, Transactions: 1, Outcome: "commit"}},
		{"in pieces without an end", "D:x D:x s Z:I", relay.Tally{Rows: 2, Transactions: 1, Outcome: "commit"}},
		{"a function", "V:abcd Z:I", relay.Tally{Transactions: 1, Outcome: "commit"}},
		{"rolled back", "C:BEGIN Z:T C:ROLLBACK Z:I", relay.Tally{Transactions: 1, Outcome: "rollback"}},
		{"an error", "E:42P01 Z:I", relay.Tally{Transactions: 1, Outcome: "error", Code: "42P01"}},
		{"an error behind rows", "D:x D:x E:57014 Z:I", relay.Tally{Rows: 2, Transactions: 1, Outcome: "error", Code: "57014"}},
		{"a failed transaction", "C:BEGIN Z:T E:23505 Z:E E:25P02 Z:E C:ROLLBACK Z:I", relay.Tally{Transactions: 1, Outcome: "error", Code: "23505"}},
		{"a failed commit", "C:BEGIN Z:T C:INSERT_0_1 Z:T E:23503 Z:I", relay.Tally{Rows: 1, Transactions: 1, Outcome: "error", Code: "23503"}},
		{"saved by a savepoint", "C:BEGIN Z:T E:23505 Z:E C:ROLLBACK Z:T C:COMMIT Z:I", relay.Tally{Transactions: 1, Outcome: "commit"}},
		{"saved, and then rolled back", "C:BEGIN Z:T E:23505 Z:E C:ROLLBACK Z:T C:ROLLBACK Z:I", relay.Tally{Transactions: 1, Outcome: "rollback"}},
		{"prepared", "C:BEGIN Z:T C:PREPARE_TRANSACTION Z:I", relay.Tally{Transactions: 1, Outcome: "prepared"}},
		{"a pipeline", "C:INSERT_0_1 Z:I E:22012 Z:I C:INSERT_0_1 Z:I", relay.Tally{Rows: 2, Transactions: 3, Outcome: "error", Code: "22012"}},
		{"open", "C:BEGIN Z:T C:INSERT_0_1", relay.Tally{Rows: 1}},
		{"a false number", "C:INSERT_0_99999999999999999999 C:SELECT_-1 C:7 C:FETCH_ Z:I", relay.Tally{Transactions: 1, Outcome: "commit"}},
		{"large numbers", strings.Repeat("C:COPY_999999999999999999 ", 12) + "Z:I", relay.Tally{Rows: math.MaxInt64, Transactions: 1, Outcome: "commit"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := answers(test.answers)
			var whole relay.Tally
			whole.Take(b)
			for _, got := range []relay.Tally{whole, pieces(b)} {
				if got.Rows != test.want.Rows || got.Transactions != test.want.Transactions || got.Outcome != test.want.Outcome || got.Code != test.want.Code {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
			}
		})
	}
	var told relay.Tally
	told.Instead(nil)
	told.Instead(&claimpool.Error{Code: claimpool.CodeQueryCanceled})
	if told.Take(answers("Z:I")); told.Outcome != claimpool.OutcomeError || told.Code != claimpool.CodeQueryCanceled {
		t.Errorf("%+v", told)
	}
}

// pieces cuts the bodies of rows apart, as FromServer does.
func pieces(b []byte) (t relay.Tally) {
	for len(b) > 0 {
		_, size, _, _ := wire.Header(b)
		n := wire.HeaderLen + size
		if b[0] == wire.MsgDataRow {
			t.Take(b[:wire.HeaderLen])
			t.Take(b[wire.HeaderLen:n])
		} else {
			t.Take(b[:n])
		}
		b = b[n:]
	}
	return t
}

func FuzzTally(f *testing.F) {
	f.Add(answers("D:x C:SELECT_1 E:42P01 Z:I"), 7)
	f.Add([]byte("C\x00\x00\x00\x04Z\x00\x00\x00\x04E\x00\x00\x00\x05x"), 3)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		var tally relay.Tally
		at = min(max(at, 0), len(b))
		tally.Take(b[:at])
		tally.Take(b[at:])
		if tally.Rows > math.MaxInt64 {
			t.Error(tally.Rows)
		}
		if tally.Transactions == 0 && tally.Outcome != "" || tally.Outcome != claimpool.OutcomeError && tally.Code != "" {
			t.Errorf("%+v", tally)
		}
	})
}
