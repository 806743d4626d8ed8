package relay

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/wire"
)

// named is a relay with the books of a client and a server.
func named(limits prepared.Limits) *Relay {
	n := 0
	l := &prepared.Library{Random: func() string { n++; return strconv.Itoa(n) }}
	r := &Relay{}
	book := prepared.NewServer(l, limits.Server)
	r.Keep(book)
	r.Begin(false, false)
	book.Begin(1, prepared.NewClient(l, limits, "scope"))
	return r
}

var someLimits = prepared.Limits{Server: 3, Client: 4, Bytes: 2000}

// rewriteAll shows the relay a client's bytes in pieces, and gives what the server gets.
func rewriteAll(t testing.TB, r *Relay, b []byte, piece int) (out []byte, held, terminate bool, err error) {
	t.Helper()
	start := 0
	for end := 0; end < len(b); {
		end = min(len(b), end+piece)
		for again := true; again; {
			n, terminate, err := r.FromClient(b[start:end])
			out = append(out, b[start:start+n]...)
			start += n
			if err != nil || terminate {
				return out, false, terminate, err
			}
			if again = r.Named(); again {
				if out, n, err = r.Rewrite(out, b[start:end]); err != nil {
					return out, false, false, err
				}
				if start += n; r.Held() {
					return out, true, false, nil
				}
				again = !r.Named()
			}
		}
	}
	return out, false, false, nil
}

// However a client's bytes are cut, the server gets the same.
func FuzzRewrite(f *testing.F) {
	for _, line := range []string{
		"P:a\x00x\x00\x00\x00|B:\x00a\x00\x00\x00|D:Sa\x00|E:\x00|C:Sa\x00|S:",
		"B:\x00\x00rest|P:\x00x\x00\x00\x00|B:\x00\x00|B:p\x00a\x00|D:Pp\x00|D:S\x00|D:Xs\x00|C:S",
		"P:a\x00x\x00\x00\x01\x00\x00\x00\x17|P:a\x00y\x00\x00\x00|S:|P:b\x00x\x00\x00\x00|S:",
		"P:a\x00x\x00\x00\x00|P:b\x00y\x00\x00\x00|P:c\x00z\x00\x00\x00|P:d\x00u\x00\x00\x00|P:e\x00v\x00\x00\x00|B:\x00a\x00|X:",
		"P:a\x00" + string(bytes.Repeat([]byte("x"), 3000)) + "\x00\x00\x00|B:\x00claimpool_1\x00|Q:x\x00|B:\x00\x00",
		"P:|B:|D:|C:|P:a|P:a\x00|B:\x00a|B:" + string(bytes.Repeat([]byte("p"), 9000)) + "\x00a\x00",
	} {
		f.Add(stream(line), 1)
		f.Add(stream(line), 7)
	}
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		whole, cut := named(someLimits), named(someLimits)
		want, held, terminate, err := rewriteAll(t, whole, b, len(b)+1)
		got, held2, terminate2, err2 := rewriteAll(t, cut, b, max(1, piece))
		if !bytes.Equal(got, want) || held != held2 || terminate != terminate2 || (err == nil) != (err2 == nil) {
			t.Errorf("in pieces of %d: %q %v %v %v\nin one: %q %v %v %v", piece, got, held2, terminate2, err2, want, held, terminate, err)
		}
		for n := 0; err == nil && n < len(want); { // what comes out is messages
			_, size, ok, err := wire.Header(want[n:])
			if err != nil {
				t.Fatalf("%q is no message", want[n:])
			}
			if !ok {
				break
			}
			n += wire.HeaderLen + size
		}
	})
}

func TestRewriteAtEveryBoundary(t *testing.T) {
	b := stream("P:name\x00select 1\x00\x00\x01\x00\x00\x00\x17|D:Sname\x00|S:|Q:x\x00|B:portal\x00name\x00\x00\x00\x00\x00|E:portal\x00\x00\x00\x00\x00|D:Pportal\x00|" +
		"P:\x00unnamed\x00\x00\x00|B:\x00\x00\x00\x00\x00\x00|C:Sother\x00|H:|C:Sname\x00|P:name\x00select 2\x00\x00\x00|S:")
	want, _, _, err := rewriteAll(t, named(someLimits), b, len(b))
	if err != nil {
		t.Fatal(err)
	}
	for piece := 1; piece <= len(b); piece++ {
		if got, _, _, err := rewriteAll(t, named(someLimits), b, piece); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("in pieces of %d: %q, %v\nin one: %q", piece, got, err, want)
		}
	}
}

func TestWhatTheServerGets(t *testing.T) {
	const close1, parse1 = "C:Sclaimpool_1\x00", "P:claimpool_1\x00x\x00\x00\x00"
	parseA := "P:a\x00x\x00\x00\x00"
	refused := "|C:Sclaimpool_refused\x00|P:claimpool_refused\x00\x00\x00\x00|P:claimpool_refused\x00"
	for _, test := range []struct{ name, sent, want string }{
		{"Query", "Q:select 1", "Q:select 1"},
		{"unnamed batch", "P:\x00x\x00\x00\x00|B:\x00\x00|D:P\x00|E:\x00|C:P\x00|S:", "P:\x00x\x00\x00\x00|B:\x00\x00|D:P\x00|E:\x00|C:P\x00|S:"},
		{"unnamed statement of somebody else", "B:\x00\x00|S:", "C:S\x00|B:\x00\x00|S:"},
		{"unnamed statement behind a Query", "Q:|B:\x00\x00", "Q:|B:\x00\x00"},
		{"prepared", parseA, parse1},
		{"used in its own batch", parseA + "|D:Sa\x00|B:\x00a\x00values", parse1 + "|D:Sclaimpool_1\x00|B:\x00claimpool_1\x00values"},
		{"closed by its last holder", parseA + "|C:Sa\x00", parse1 + "|" + close1},
		{"closed by one of two", parseA + "|P:b\x00x\x00\x00\x00|C:Sa\x00", parse1 + "|" + close1 + "|" + parse1 + "|C:Sclaimpool_nothing\x00"},
		{"closed twice", parseA + "|C:Sa\x00|C:Sa\x00", parse1 + "|" + close1 + "|C:Sa\x00"},
		{"unknown", "B:\x00a\x00|D:Sa\x00|C:Sa\x00", "B:\x00a\x00|D:Sa\x00|C:Sa\x00"},
		{"unknown, and named like ours", "B:\x00claimpool_1\x00|D:Sclaimpool_\x00", "B:\x00claimpool_nothing\x00|D:Sclaimpool_nothing\x00"},
		{"twice", parseA + "|P:a\x00y\x00\x00\x00", parse1 + refused + "y\x00\x00\x00"},
		{"over the client's number", "P:a\x00x\x00\x00\x00|P:b\x00x\x00\x00\x00|P:c\x00x\x00\x00\x00|P:d\x00x\x00\x00\x00|P:e\x00x\x00\x00\x00",
			parse1 + "|" + close1 + "|" + parse1 + "|" + close1 + "|" + parse1 + "|" + close1 + "|" + parse1 + refused + "x\x00\x00\x00"},
		{"over the client's bytes", "P:a\x00" + string(bytes.Repeat([]byte("x"), 1990)) + "\x00\x00\x00",
			refused[1:] + string(bytes.Repeat([]byte("x"), 1990)) + "\x00\x00\x00"},
		{"over the client's bytes by far", "P:a\x00" + string(bytes.Repeat([]byte("x"), 1<<20)) + "\x00\x00\x00", refused[1:] + "\x00\x00\x00"},
		{"over the server's number", "P:a\x00x\x00\x00\x00|P:b\x00y\x00\x00\x00|P:c\x00z\x00\x00\x00|B:\x00a\x00|P:d\x00u\x00\x00\x00|B:\x00b\x00",
			parse1 + "|P:claimpool_2\x00y\x00\x00\x00|P:claimpool_3\x00z\x00\x00\x00|B:\x00claimpool_1\x00|C:Sclaimpool_2\x00|P:claimpool_4\x00u\x00\x00\x00|" +
				"C:Sclaimpool_3\x00|C:Sclaimpool_2\x00|P:claimpool_2\x00y\x00\x00\x00|B:\x00claimpool_2\x00"},
		{"malformed", "P:a|P:a\x00x|P:a\x00x\x00\x00\x01|B:\x00a|C:S|D:Xa\x00", "P:a|P:a\x00x|P:a\x00x\x00\x00\x01|B:\x00a|C:S|D:Xa\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, held, _, err := rewriteAll(t, named(someLimits), stream(test.sent), 1<<20)
			if want := stream(test.want); err != nil || held || !bytes.Equal(got, want) {
				t.Errorf("got  %q, %v\nwant %q", got, err, want)
			}
		})
	}
}

// talk runs a conversation like play, and gives what the server and the client get.
func talk(t *testing.T, r *Relay, lines ...string) (server, client []byte, held bool) {
	t.Helper()
	for _, line := range lines {
		b := stream(line[1:])
		if line[0] == '>' {
			out, h, _, err := rewriteAll(t, r, b, len(b))
			if err != nil {
				t.Fatal(err)
			}
			server, held = append(server, out...), h
			continue
		}
		for len(b) > 0 {
			reply, err := r.FromServer(b)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			client = append(client, b[:reply.Forward]...)
			if reply.Instead != nil {
				client = append(client, "error "+string(reply.Instead.Code)...)
			}
			b = b[reply.Forward+reply.Drop:]
		}
	}
	return server, client, held
}

func TestWhatTheClientHears(t *testing.T) {
	const a, done = "P:a\x00x\x00\x00\x00", "<1:|Z:I"
	for _, test := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"its own answers", []string{">" + a + "|C:Sa\x00|S:", "<1:|3:|Z:I"}, "1:|3:|Z:I"},
		{"no answer to what it has not asked", []string{">" + a + "|S:", done, "!", ">B:\x00a\x00|S:", "<3:|1:|2:|Z:I"}, "1:|Z:I|2:|Z:I"},
		{"the error of a Parse of ours", []string{">" + a + "|S:", done, "!", ">B:\x00a\x00|S:", "<3:|E:SERROR\x00\x00|Z:I"}, "1:|Z:I|E:SERROR\x00\x00|Z:I"},
		{"an error in front of it", []string{">" + a + "|S:", done, "!", ">E:\x00|B:\x00a\x00|S:", "<E:SERROR\x00\x00|Z:I"}, "1:|Z:I|E:SERROR\x00\x00|Z:I"},
		{"that a name is taken", []string{">" + a + "|S:", done, ">" + a + "|S:", "<3:|1:|E:C42P05\x00\x00|Z:I"}, "1:|Z:I|error 42P05|Z:I"},
		{"what is wrong with the text", []string{">" + a + "|S:", done, ">" + a + "|S:", "<3:|1:|E:C42601\x00\x00|Z:I"}, "1:|Z:I|E:C42601\x00\x00|Z:I"},
		{"nothing of our names", []string{">" + a + "|S:", done, ">B:\x00a\x00|S:", "<E:C26000\x00Mprepared statement \"claimpool_1\"\x00\x00|Z:I"}, "1:|Z:I|error 26000|Z:I"},
		{"PostgreSQL on names of its own", []string{">B:\x00a\x00|S:", "<E:C26000\x00Mprepared statement \"a\"\x00\x00|Z:I"}, "E:C26000\x00Mprepared statement \"a\"\x00\x00|Z:I"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := named(someLimits)
			var got []byte
			for _, line := range test.lines {
				if line == "!" {
					r.book.Clear() // another server
					continue
				}
				_, heard, _ := talk(t, r, line)
				got = append(got, heard...)
			}
			if want := wantHeard(test.want); !bytes.Equal(got, want) || !r.Over() {
				t.Errorf("got %q\nwant %q, over %v", got, want, r.Over())
			}
		})
	}
}

func wantHeard(text string) (b []byte) {
	for part := range bytes.SplitSeq([]byte(text), []byte("|")) {
		if bytes.HasPrefix(part, []byte("error ")) {
			b = append(b, part...)
		} else {
			b = append(b, stream(string(part))...)
		}
	}
	return b
}

func TestWhatWaitsForAnAnswer(t *testing.T) {
	const a, use = "P:a\x00x\x00\x00\x00", "B:\x00a\x00"
	for _, test := range []struct {
		name  string
		lines []string
		held  bool
	}{
		{"use in the same batch", []string{">" + a + "|" + use}, false},
		{"use in the next batch", []string{">" + a + "|S:|" + use}, true},
		{"use when it has been answered", []string{">" + a + "|S:", "<1:|Z:I", ">" + use}, false},
		{"use behind another request", []string{">" + a + "|S:", "<1:|Z:I", ">Q:|" + use}, false},
		{"a name that may be free again", []string{">" + a + "|S:", "<1:|Z:I", ">C:Sa\x00|S:|" + a}, true},
		{"a name that may be taken", []string{">" + a + "|S:|" + a}, true},
		{"a name that DEALLOCATE ALL may free", []string{">" + a + "|S:", "<1:|Z:I", ">Q:|" + a}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := named(someLimits)
			if _, _, held := talk(t, r, test.lines...); held != test.held || held == r.Ready() && held {
				t.Errorf("held %v, ready %v", held, r.Ready())
			}
		})
	}
}

// TestAttackStatementsBehindAQueryInABatch: the attacker breaks off a batch with a Query, so that nobody can tell any more which
// answer is whose, and prepares statements then.
//
// Must: He is sent away: no statement is believed to be there that is not.
func TestAttackStatementsBehindAQueryInABatch(t *testing.T) {
	r := named(someLimits)
	_, _, _, err := rewriteAll(t, r, stream("P:\x00x\x00\x00\x00|Q:x|P:a\x00x\x00\x00\x00|S:"), 1000)
	if e := claimpool.AsError(err); err == nil || e.Code != claimpool.CodeFeatureNotSupported {
		t.Errorf("%v", err)
	}
}

// TestAttackServerAnswersInAnotherOrder: the server, taken over, answers what was not asked, or in another order.
//
// Must: It is not believed, and closed.
func TestAttackServerAnswersInAnotherOrder(t *testing.T) {
	for _, answer := range []string{"3:", "1:x", "1:|1:"} {
		r := named(someLimits)
		rewriteAll(t, r, stream("P:a\x00x\x00\x00\x00|C:Sa\x00|S:"), 1000)
		b := stream(answer)
		var err error
		for len(b) > 0 && err == nil {
			var reply Reply
			reply, err = r.FromServer(b)
			b = b[reply.Forward+reply.Drop:]
		}
		if err == nil {
			t.Errorf("%s was believed", answer)
		}
	}
}

func TestPreparedStatementsDoNotAllocate(t *testing.T) {
	r := named(someLimits)
	talk(t, r, ">P:a\x00x\x00\x00\x00|S:", "<1:|Z:I")
	client, server := stream("B:\x00a\x00\x00\x00\x00\x00\x00\x00|D:P\x00|E:\x00\x00\x00\x00\x00|S:"), stream("2:|n:|C:SELECT 1\x00|Z:I")
	out := make([]byte, 0, 1000)
	if n := testing.AllocsPerRun(1000, func() {
		r.Begin(false, false)
		n, _, _ := r.FromClient(client)
		out, n, _ = r.Rewrite(out[:0], client[n:])
		r.FromClient(client[n:])
		r.FromServer(server)
		if !r.Over() {
			panic("not over")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
