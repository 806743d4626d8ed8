package relay

import "testing"

// TestAttackMalformedMessagesAroundCopy: a Flush or Sync with a body is an error of PostgreSQL's, but inside of a COPY it is passed over. A client
// sends them where nobody but PostgreSQL can tell: beside a COPY whose trigger fails late, or while the proxy asks what is to come.
//
// Must: The server is not free while answers of it, or requests of the client, are on their way, and it is closed behind the client.
func TestAttackMalformedMessagesAroundCopy(t *testing.T) {
	const begun, failed, idle = "<1:|2:|G:", "<E:VERROR\x00C22012\x00\x00", "<Z:I"
	const malformed = "<E:VERROR\x00C08P01\x00\x00"
	for name, lines := range map[string][]string{
		"Flush behind a Sync that is answered":         {">P:|B:|E:|S:", begun, ">H:x", failed, idle},
		"Flush behind an end, too":                     {">P:|B:|E:|S:", begun, ">c:|H:x", failed, idle},
		"Flush behind an end sent ahead":               {">P:|B:|E:|S:|c:|H:x", begun, failed, idle},
		"Flush behind an end sent ahead, and requests": {">P:|B:|E:|S:|c:|H:x|S:|S:|Q:", begun, "<C:COPY 1\x00|E:VERROR\x00C08P01\x00\x00", idle, idle},
		"Sync behind one that is answered":             {">P:|B:|E:|S:", begun, ">S:x|c:|S:", failed, idle, "?", malformed, idle},
		"Sync behind an end":                           {">P:|B:|E:|S:", begun, ">S:|c:|S:x", failed, idle, "?", idle, malformed},
		"Flush behind the question":                    {">P:|B:|E:|S:", begun, ">c:|S:", failed, idle, "?", ">H:x", idle, "<3:", idle},
	} {
		t.Run(name, func(t *testing.T) {
			for _, single := range []bool{false, true} {
				var r Relay
				r.Begin(false, single)
				for i, line := range lines {
					if line == "?" {
						if r.Doubtful() {
							r.Probe(nil)
						}
						continue
					}
					if i > 0 && r.Over() {
						t.Fatalf("over in front of %q: %+v", line, r)
					}
					if line[0] == '>' {
						r.FromClient(stream(line[1:]))
					} else if err := play(t, &r, []string{line}); err != nil {
						return // the server is closed
					}
				}
				if r.Over() || !r.Unsure() {
					t.Errorf("one at a time %v: over %v, unsure %v", single, r.Over(), r.Unsure())
				}
			}
		})
	}
}

// TestAttackRequestBehindHalfARow: a client leaves a CopyData half sent while its COPY fails, so that the question what is to come cannot be
// asked, and sends a request behind the rest.
//
// Must: The request waits for the question, and no error of its own is taken for the question's answer.
func TestAttackRequestBehindHalfARow(t *testing.T) {
	var r Relay
	r.Begin(false, false)
	if err := play(t, &r, []string{">P:|B:|E:|S:", "<1:|2:|G:", ">c:|S:"}); err != nil {
		t.Fatal(err)
	}
	row := stream("d:0123456789")
	r.FromClient(row[:8])
	if err := play(t, &r, []string{"<E:VERROR\x00C22012\x00\x00|Z:I"}); err != nil || r.Doubtful() || r.Over() {
		t.Fatalf("%v, doubtful %v, over %v", err, r.Doubtful(), r.Over())
	}
	rest := append(row[8:], stream("Q:select 1/0")...)
	if n, _, err := r.FromClient(rest); n != len(row)-8 || err != nil || !r.Held() || !r.Doubtful() {
		t.Fatalf("%d bytes go on, %v, doubtful %v", n, err, r.Doubtful())
	}
	r.Probe(nil)
	if err := play(t, &r, []string{"<Z:I|3:|Z:I"}); err != nil || !r.Over() || !r.Ready() {
		t.Fatalf("%v, %+v", err, r)
	}
	r.Begin(false, false)
	play(t, &r, []string{">P:|B:|E:|S:", "<1:|2:|G:", ">c:|S:", "<E:VERROR\x00\x00|Z:I"})
	r.Probe(nil)
	if err := play(t, &r, []string{"<E:VERROR\x00C08P01\x00\x00"}); err == nil || r.Over() {
		t.Errorf("an error that no cancel makes is taken for the answer: %+v", r)
	}
}
