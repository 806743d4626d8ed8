package relay

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
)

// stream builds messages: "Q:select 1|S:" and so on.
func stream(text string) (b []byte) {
	if text == "" {
		return nil
	}
	for _, m := range strings.Split(text, "|") {
		b = append(b, message{m[0], m[2:]}.bytes()...)
	}
	return b
}

// play runs a conversation: lines of the client begin with ">", those of the server with "<".
func play(t *testing.T, r *Relay, lines []string) (err error) {
	t.Helper()
	for _, line := range lines {
		b := stream(line[1:])
		if line[0] == '>' {
			n, _, err := r.FromClient(b)
			if err != nil {
				return err
			}
			if n != len(b) {
				t.Fatalf("%s: %d of %d bytes", line, n, len(b))
			}
			continue
		}
		for len(b) > 0 {
			reply, err := r.FromServer(b)
			if err != nil {
				return err
			}
			b = b[reply.Forward+reply.Drop:]
			if reply.Done && len(b) > 0 {
				t.Fatalf("%s: %d bytes are left", line, len(b))
			}
		}
	}
	return nil
}

func TestConversations(t *testing.T) {
	const (
		idle, inTransaction, failed = "<Z:I", "<Z:T", "<Z:E"
		done                        = "<C:X\x00"
		errorReply                  = "<E:VERROR\x00\x00"
		batch                       = ">P:|B:|E:"
		copyIn                      = "<1:|2:|G:"
	)
	for _, test := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"nothing yet", nil, "over"},
		{"query under way", []string{">Q:"}, "busy"},
		{"query answered", []string{">Q:", done, idle}, "over"},
		{"transaction", []string{">Q:", done, inTransaction}, "in transaction"},
		{"failed transaction", []string{">Q:", errorReply, failed}, "in transaction"},
		{"pipeline half answered", []string{">Q:|Q:", done, idle}, "busy"},
		{"pipeline answered", []string{">Q:|Q:", done, idle, done, idle}, "over"},
		{"batch without Sync", []string{batch, "<1:|2:|C:X\x00"}, "busy"},
		{"batch with Flush", []string{batch + "|H:", "<1:|2:|C:X\x00"}, "busy"},
		{"batch with Sync", []string{batch + "|S:", "<1:|2:|C:X\x00", idle}, "over"},
		{"batch failed, Sync to come", []string{batch, errorReply}, "busy"},
		{"batch failed, Sync answered", []string{batch, errorReply, ">S:", idle}, "over"},
		{"Sync alone", []string{">S:", idle}, "over"},
		{"Flush alone", []string{">H:"}, "over"},
		{"malformed Flush", []string{">Q:|H:x", done, idle, errorReply}, "busy"},
		{"malformed Flush and Sync", []string{">H:x", errorReply, ">S:", idle}, "over"},
		{"function call", []string{">F:", "<V:", idle}, "over"},
		{"query behind a batch without Sync", []string{batch + "|Q:", "<1:|2:|C:X\x00", done, idle}, "unsure"},
		{"COPY by Query", []string{">Q:", "<G:"}, "copying"},
		{"COPY by Query, data sent", []string{">Q:", "<G:", ">d:|d:|c:"}, "busy"},
		{"COPY by Query, answered", []string{">Q:", "<G:", ">d:|d:|c:", done, idle}, "over"},
		{"COPY by Query, failed by the client", []string{">Q:", "<G:", ">f:", errorReply, idle}, "over"},
		{"COPY by Query, failed by the server", []string{">Q:", "<G:", ">d:", errorReply, idle, ">d:|c:"}, "over"},
		{"COPY by Query, data before the answer", []string{">Q:|d:|c:", "<G:", done, idle}, "over"},
		{"two COPYs in one Query", []string{">Q:", "<G:", ">c:", done, "<G:", ">c:", done, idle}, "over"},
		{"Sync inside of COPY", []string{">Q:", "<G:", ">S:|c:", done, idle}, "over"},
		{"Sync inside of a COPY that fails", []string{">Q:", "<G:", ">S:", errorReply, idle}, "unsure"},
		{"Query inside of COPY", []string{">Q:", "<G:", ">Q:"}, "unsure"},
		{"Parse inside of COPY", []string{">Q:", "<G:", ">P:"}, "unsure"},
		{"COPY by Execute, Sync ahead", []string{batch + "|S:", copyIn, ">d:|c:|S:", done, idle}, "over"},
		{"COPY by Execute, Sync ahead, second one missing", []string{batch + "|S:", copyIn, ">d:|c:", done}, "busy"},
		{"COPY by Execute, Sync ahead, failed", []string{batch + "|S:", copyIn, ">d:|c:|S:", errorReply, idle}, "unsure"},
		{"... and the Sync was answered after all", []string{batch + "|S:", copyIn, errorReply, idle, ">c:|S:", idle}, "over"},
		{"COPY by Execute, Sync ahead, refused before it begins", []string{batch + "|S:", errorReply, idle}, "over"},
		{"COPY by Execute, all sent ahead", []string{batch + "|d:|c:|S:", copyIn, done, idle}, "over"},
		{"COPY by Execute, all sent ahead, failed", []string{batch + "|d:|c:|S:", copyIn, errorReply, idle}, "over"},
		{"COPY by Execute, all sent ahead, refused", []string{batch + "|d:|c:|S:", errorReply, idle}, "over"},
		{"two COPYs in one batch, sent ahead", []string{batch + "|d:|c:|P:|B:|E:|d:|c:|S:", copyIn, done, copyIn, done, idle}, "unsure"},
		{"COPY by Query in a pipeline, data ahead", []string{">Q:|Q:|d:|c:", done, idle, "<G:", done, idle}, "over"},
		{"two COPYs in one Query, both sent ahead", []string{">Q:|d:|c:|d:|c:", "<G:", done, "<G:", done, idle}, "over"},
		{"one COPY and two ends sent ahead", []string{">Q:|d:|c:|d:|c:", "<G:", done, idle}, "over"},
		{"two COPYs in one Query, one sent ahead", []string{">Q:|c:", "<G:", done, "<G:"}, "copying"},
		{"two COPYs in one Query, one sent ahead, and more", []string{">Q:|c:", "<G:", ">S:", done, "<G:"}, "unsure"},
		{"COPY by Execute, Sync and data ahead", []string{batch + "|S:|d:|c:", copyIn, ">S:", done, idle}, "over"},
		{"COPY by Execute, Sync and data ahead, failed", []string{batch + "|S:|d:|c:", copyIn, ">S:", errorReply, idle}, "unsure"},
		{"COPY by Execute, Sync and data ahead, refused", []string{batch + "|S:|d:|c:", errorReply, idle, ">S:", idle}, "over"},
		{"COPY by Execute, Sync and data ahead, more in its batch", []string{batch + "|S:|d:|c:", copyIn, ">P:|B:|E:|S:", done, "<1:|2:|C:X\x00", idle}, "over"},
		{"COPY by Execute, Sync and data ahead, more in its batch, failed", []string{batch + "|S:|d:|c:", copyIn, ">P:|B:|E:|S:", errorReply, idle}, "unsure"},
		{"COPY by Execute and Flush", []string{batch + "|H:", copyIn, ">c:|S:", done, idle}, "over"},
		{"COPY by Execute and Flush, failed", []string{batch + "|H:", copyIn, ">f:|S:", errorReply, idle}, "over"},
		{"COPY that nobody asked for", []string{"<G:"}, "unsure"},
		{"COPY in a pipeline", []string{">Q:|Q:", "<G:"}, "unsure"},
		{"COPY out", []string{">Q:", "<H:|d:|d:|c:", done, idle}, "over"},
		{"server says FATAL", []string{">Q:", "<E:SFATAL\x00VFATAL\x00\x00"}, "fatal"},
		{"server says FATAL between two transactions", []string{">Q:", done, idle, "<E:VPANIC\x00\x00"}, "fatal"},
		{"somebody's text says FATAL", []string{">Q:", "<E:SFATAL\x00VERROR\x00MFATAL\x00\x00", idle}, "over"},
		{"notice and news", []string{">Q:", "<N:x|A:x|S:a\x00b\x00|C:X\x00|Z:I|N:x"}, "over"},
		{"server is ready without a reason", []string{"<Z:I"}, "error"},
		{"server is ready twice", []string{">Q:", idle, idle}, "error"},
		{"status unknown", []string{">Q:", "<Z:X"}, "error"},
		{"status too long", []string{">Q:", "<Z:II"}, "error"},
		{"authentication after login", []string{">Q:", "<R:"}, "error"},
		{"key after login", []string{">Q:", "<K:"}, "error"},
		{"replication", []string{">Q:", "<W:"}, "error"},
		{"unknown message", []string{">Q:", "<\x00:"}, "error"},
		{"malformed parameter", []string{">Q:", "<S:a"}, "error"},
		{"endless parameter", []string{">Q:", "<S:" + strings.Repeat("a", maxWhole+1)}, "error"},
		{"long error", []string{">Q:", "<E:VFATAL\x00M" + strings.Repeat("a", maxWhole) + "\x00\x00", idle}, "over"},
		{"client sends what only servers send", []string{">Z:I"}, "error"},
		{"client sends a password", []string{">p:x"}, "error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r Relay
			r.Begin(false, false)
			got := "busy"
			switch err := play(t, &r, test.lines); {
			case err != nil:
				got = "error"
				var e *claimpool.Error
				if !errors.As(err, &e) && !strings.Contains(err.Error(), "malformed") {
					t.Errorf("an error without a code: %v", err)
				}
			case r.Over():
				got = "over"
			case r.Unsure():
				got = "unsure"
			case r.Fatal():
				got = "fatal"
			case r.Copying():
				got = "copying"
			case !r.Busy() && r.InTransaction():
				got = "in transaction"
			}
			if got != test.want {
				t.Errorf("%s, want %s: %+v", got, test.want, r)
			}
		})
	}
}

func TestHalfAMessageIsNotOver(t *testing.T) {
	var r Relay
	play(t, &r, []string{">Q:", "<E:\x00|Z:I"})
	b := stream("d:row")
	if n, _, _ := r.FromClient(b[:7]); n != 7 || r.Over() || r.Whole() {
		t.Errorf("%d bytes, over %v", n, r.Over())
	}
	if n, _, _ := r.FromClient(b[7:]); n != 1 || !r.Over() {
		t.Errorf("%d bytes, over %v", n, r.Over())
	}
	b = stream("N:note")
	if _, err := r.FromServer(b[:7]); err != nil || r.Over() || r.Interruptible() {
		t.Errorf("over %v, %v", r.Over(), err)
	}
}

func TestOneRequestAtATime(t *testing.T) {
	for _, test := range []struct {
		name, sent, forwarded string
	}{
		{"two queries", "Q:a|Q:b", "Q:a"},
		{"a batch is one request", "P:|B:|E:|S:|P:|B:|E:|S:", "P:|B:|E:|S:"},
		{"function call behind a batch", "P:|S:|F:", "P:|S:"},
		{"COPY data sent ahead", "Q:copy|d:|d:|c:|Q:", "Q:copy|d:|d:|c:"},
		{"goodbye", "Q:a|X:", "Q:a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r Relay
			r.Begin(false, true)
			b := stream(test.sent)
			n, terminate, err := r.FromClient(b)
			if want := stream(test.forwarded); err != nil || !bytes.Equal(b[:n], want) {
				t.Fatalf("%q forwarded, %v", b[:n], err)
			}
			if terminate != (test.name == "goodbye") || r.Held() == terminate || r.Held() {
				t.Errorf("terminate %v, held must be told once", terminate)
			}
			play(t, &r, []string{"<Z:I"})
			if m, _, _ := r.FromClient(b[n:]); m == 0 && !terminate {
				t.Error("the next request does not follow")
			}
		})
	}
}

func TestTerminateStopsTheScan(t *testing.T) {
	var r Relay
	b := stream("Q:a|X:|Q:b")
	if n, terminate, err := r.FromClient(b); !terminate || err != nil || string(b[n]) != "X" {
		t.Errorf("%d, %v, %v", n, terminate, err)
	}
}

// TestAttackUnknownMessageAfterGoodOnes: the attacker puts a message that no client may send behind good ones, in one write.
//
// Must: The good ones go out; the bad one is an error, and neither it nor what follows is forwarded.
func TestAttackUnknownMessageAfterGoodOnes(t *testing.T) {
	var r Relay
	b := append(stream("Q:a"), 'Q', 0xff, 0xff, 0xff, 0xff, 'x')
	if n, _, err := r.FromClient(b); n != len(stream("Q:a")) || err == nil {
		t.Errorf("%d, %v", n, err)
	}
	b = append(stream("Q:a"), 'Q', 0, 0, 0, 3)
	if n, _, err := r.FromClient(b); n != len(stream("Q:a")) || err == nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestNotificationsReachOnlyTheirSession(t *testing.T) {
	b := stream("D:1|A:secret|D:2|A:|A:again|Z:I")
	for _, notify := range []bool{false, true} {
		var r Relay
		r.Begin(notify, false)
		r.FromClient(stream("Q:"))
		out := fromServer(t, &r, b, len(b))
		want := "D:1|D:2|Z:I"
		if notify {
			want = "D:1|A:secret|D:2|A:|A:again|Z:I"
		}
		if !bytes.Equal(out.forwarded, stream(want)) {
			t.Errorf("notify %v: %q", notify, out.forwarded)
		}
	}
}

func TestWhatTheServerSaid(t *testing.T) {
	var r Relay
	r.Begin(false, false)
	r.FromClient(stream("Q:|Q:"))
	out := fromServer(t, &r, stream("S:TimeZone\x00UTC\x00|C:RESET\x00|Z:I|E:VERROR\x00\x00|S:a\x00b\x00|Z:I"), 7)
	if strings.Join(out.parameters, " ") != "TimeZone=UTC a=b" {
		t.Errorf("parameters %q", out.parameters)
	}
	if r.ReadOnly() {
		t.Error("read-only without 25006")
	}
	if !r.Wiped() || !r.Erred() || r.Ended() != 2 {
		t.Errorf("wiped %v, erred %v, ended %d", r.Wiped(), r.Erred(), r.Ended())
	}
	r.Begin(false, false)
	if r.Wiped() || r.Erred() || r.Ended() != 0 {
		t.Error("a new lease begins with nothing")
	}
	for _, tag := range []string{"SELECT 1\x00", "DISCARD TEMP\x00", "RESETS\x00", "PREPARE\x00", "", "DISCARD ALL" + strings.Repeat(" ", 100)} {
		play(t, &r, []string{">Q:", "<C:" + tag + "|Z:I"})
		if r.Wiped() {
			t.Errorf("%q wipes nothing", tag)
		}
	}
	play(t, &r, []string{">Q:", "<C:" + "DISCARD ALL\x00" + "|Z:I"})
	if !r.Wiped() {
		t.Error("DISCARD ALL wipes")
	}
}

// output is what came out of a relay.
type output struct {
	forwarded  []byte
	parameters []string
	err        error
}

// fromServer shows the relay a server's bytes in pieces, as a loop would: what it does not use is shown again.
func fromServer(t testing.TB, r *Relay, b []byte, piece int) (out output) {
	t.Helper()
	start := 0
	for end := 0; end < len(b); {
		end = min(len(b), end+piece)
		for start < end {
			reply, err := r.FromServer(b[start:end])
			used := reply.Forward + reply.Drop
			if reply.Forward < 0 || reply.Drop < 0 || start+used > end {
				t.Fatalf("%+v of %d bytes", reply, end-start)
			}
			out.forwarded = append(out.forwarded, b[start:start+reply.Forward]...)
			start += used
			if err != nil {
				out.err = err
				return out
			}
			if reply.Event == Parameter {
				out.parameters = append(out.parameters, reply.Name+"="+reply.Value)
			}
			if reply.Done {
				break
			}
			if used == 0 {
				t.Fatal("no progress")
			}
		}
	}
	return out
}

// fromClient is fromServer for a client's bytes.
func fromClient(t testing.TB, r *Relay, b []byte, piece int) (forwarded []byte, terminate bool, err error) {
	t.Helper()
	start := 0
	for end := 0; end < len(b); {
		end = min(len(b), end+piece)
		n, terminate, err := r.FromClient(b[start:end])
		if n < 0 || start+n > end {
			t.Fatalf("%d of %d bytes", n, end-start)
		}
		forwarded = append(forwarded, b[start:start+n]...)
		start += n
		if err != nil || terminate {
			return forwarded, terminate, err
		}
	}
	return forwarded, false, nil
}

// However the bytes are cut, the same comes out, and the relay ends in the same state.
func FuzzFromServer(f *testing.F) {
	f.Add(stream("T:|D:row|C:SELECT 1\x00|Z:I"), 3)
	f.Add(stream("S:a\x00b\x00|A:news|N:|E:VFATAL\x00\x00|Z:T"), 1)
	f.Add(stream("G:|C:COPY\x00|Z:I|Z:I"), 4)
	f.Add(stream("E:"+strings.Repeat("x", maxWhole+1)+"|Z:E"), 1000)
	f.Add([]byte("D\xff\xff\xff\xff"), 2)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		whole := Relay{due: 3}
		cut := whole
		want := fromServer(t, &whole, b, len(b)+1)
		got := fromServer(t, &cut, b, max(1, piece))
		if !bytes.Equal(got.forwarded, want.forwarded) || (got.err == nil) != (want.err == nil) ||
			strings.Join(got.parameters, "\n") != strings.Join(want.parameters, "\n") || got.err == nil && cut != whole {
			t.Errorf("in pieces of %d: %+v %+v\nin one: %+v %+v", piece, got, cut, want, whole)
		}
	})
}

func FuzzFromClient(f *testing.F) {
	f.Add(stream("Q:select 1|P:|B:|E:|S:|X:|Q:"), 3, false)
	f.Add(stream("Q:copy|d:row|c:|H:|H:x|F:|f:"), 1, true)
	f.Add([]byte("Q\x00\x00\x00\x03"), 2, false)
	f.Fuzz(func(t *testing.T, b []byte, piece int, single bool) {
		var whole, cut Relay
		whole.Begin(false, single)
		cut.Begin(false, single)
		want, terminate, err := fromClient(t, &whole, b, len(b)+1)
		got, terminate2, err2 := fromClient(t, &cut, b, max(1, piece))
		if !bytes.Equal(got, want) || terminate != terminate2 || (err == nil) != (err2 == nil) || cut != whole {
			t.Errorf("in pieces of %d: %q %v %v %+v\nin one: %q %v %v %+v", piece, got, terminate2, err2, cut, want, terminate, err, whole)
		}
	})
}

// TestSyncDoesNotWaitForAQueryOfItsBatch: where requests go one at a time, a Query inside of a batch that has failed is answered
// by nobody before the Sync of the batch.
func TestSyncDoesNotWaitForAQueryOfItsBatch(t *testing.T) {
	for line, want := range map[string]int{
		"P:|B:|E:|Q:a|Q:b|S:": 6, "P:|Q:a|P:|E:|H:|S:|Q:b": 7, "P:|F:x|S:|S:": 4, "Q:a|S:": 1, "S:|S:": 1, "P:|S:|P:": 2, "H:x|Q:a|S:": 3, "Q:a|H:x|S:|S:": 3, "P:|Q:a|S:|Q:b|Q:c": 5,
	} {
		var r Relay
		r.Begin(false, true)
		b := stream(line)
		got, _, err := r.FromClient(b)
		if err != nil || got != len(stream(strings.Join(strings.Split(line, "|")[:want], "|"))) {
			t.Errorf("%s: %d bytes go out, %v", line, got, err)
		}
		if held := r.Held(); held != (got < len(b)) {
			t.Errorf("%s: held: %v", line, held)
		}
	}
}

func TestEveryBoundary(t *testing.T) {
	server := stream("1:|2:|T:xy|D:row|S:a\x00b\x00|A:news|N:note|C:RESET\x00|E:SERROR\x00VERROR\x00\x00|Z:T|G:|C:COPY 1\x00|Z:I")
	client := stream("P:|B:|D:|E:|S:|Q:copy|d:row|c:|H:|Q:select 1|X:")
	for _, single := range []bool{false, true} {
		for piece := 1; piece <= len(server); piece++ {
			whole, cut := Relay{due: 2, single: single}, Relay{due: 2, single: single}
			want, got := fromServer(t, &whole, server, len(server)), fromServer(t, &cut, server, piece)
			if !bytes.Equal(got.forwarded, want.forwarded) || want.err != nil || cut != whole {
				t.Fatalf("server, in pieces of %d: %+v %+v", piece, got, cut)
			}
		}
		for piece := 1; piece <= len(client); piece++ {
			whole, cut := Relay{single: single}, Relay{single: single}
			want, end, _ := fromClient(t, &whole, client, len(client))
			got, end2, _ := fromClient(t, &cut, client, piece)
			if !bytes.Equal(got, want) || end != end2 || cut != whole {
				t.Fatalf("client, in pieces of %d: %q %+v", piece, got, cut)
			}
		}
	}
}

func TestATransactionDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(1000, transaction()); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// transaction is one simple and one extended query, with an error in it.
func transaction() func() {
	client := stream("Q:select 1|P:|B:\x00\x00\x00\x00\x00\x00\x00\x00|D:P|E:\x00\x00\x00\x00\x00|S:")
	server := stream("T:0123456789|D:0123456789|C:SELECT 1\x00|Z:I|1:|2:|n:|E:SERROR\x00VERROR\x00Mno\x00\x00|Z:I")
	var r Relay
	return func() {
		r.Begin(false, false)
		r.FromClient(client)
		r.FromServer(server)
		if !r.Over() {
			panic("not over")
		}
	}
}

func BenchmarkTransaction(b *testing.B) {
	f := transaction()
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
}

func BenchmarkLongResult(b *testing.B) {
	var rows []byte
	row := stream("D:" + strings.Repeat("x", 100))
	for len(rows)+len(row) < 64<<10 {
		rows = append(rows, row...)
	}
	r := Relay{due: 1}
	b.SetBytes(int64(len(rows)))
	b.ReportAllocs()
	for b.Loop() {
		r.FromServer(rows)
	}
}
