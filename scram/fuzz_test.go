package scram_test

import (
	"strings"
	"testing"

	"github.com/claimpool/claimpool/scram"
)

// FuzzAsker sends any two messages: nothing but the one right proof passes.
func FuzzAsker(f *testing.F) {
	f.Add(rfcClientFirst, rfcClientFinal, false)
	f.Add("n,,n=,r=a,x=y", "c=biws,r=a"+rfcServerNonce+",x=y,p=AAAA", false)
	f.Add("p=tls-server-end-point,,n=,r=a", "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCws,r=a,p=", true)
	f.Add("y,,n=,r=a", "", false)
	v := rfcVerifier(f)
	f.Fuzz(func(t *testing.T, first, final string, plus bool) {
		mech, bindings := scram.Mechanism, map[string][]byte(nil)
		if plus {
			mech, bindings = scram.MechanismPlus, binding
		}
		a, err := scram.NewAsker(v, rfcServerNonce, mech, bindings)
		if err != nil {
			t.Fatal(err)
		}
		m, err := a.First([]byte(first))
		if err != nil {
			return
		}
		if !strings.HasPrefix(string(m), "r=") || !strings.Contains(string(m), rfcServerNonce+",s=") {
			t.Fatalf("server-first %q", m)
		}
		if _, err := a.Final([]byte(final)); err == nil && (first != rfcClientFirst || final != rfcClientFinal) {
			t.Fatalf("passed: %q, %q", first, final)
		}
	})
}

// FuzzProver answers a client with any two messages: it never believes the server.
func FuzzProver(f *testing.F) {
	f.Add(rfcServerFirst, rfcServerFinal)
	f.Add("r="+rfcClientNonce+"x,s=AAAA,i=4096,x=y", "e=other-error")
	f.Add("r="+rfcClientNonce+"x,s=AAAA,i=4096", "v=")
	key := make([]byte, 32) // keys instead of a password: PBKDF2 would only slow the fuzzer down
	f.Fuzz(func(t *testing.T, first, final string) {
		p, err := scram.NewProver(scram.Credential{ClientKey: key, ServerKey: key}, rfcClientNonce, scram.Mechanism, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.First(); err != nil {
			t.Fatal(err)
		}
		m, err := p.Final([]byte(first))
		if err != nil {
			return
		}
		if !strings.HasPrefix(string(m), "c=biws,r="+rfcClientNonce) {
			t.Fatalf("client-final %q", m)
		}
		if err := p.Verify([]byte(final)); err == nil {
			t.Fatalf("believed: %q, %q", first, final)
		}
	})
}

// FuzzParseVerifier: what is accepted, is written back as it was.
func FuzzParseVerifier(f *testing.F) {
	f.Add(rfcVerifier(f).Encode())
	f.Add("SCRAM-SHA-256$1:AAAA$AAAA:AAAA")
	f.Add("md5abc")
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := scram.ParseVerifier(s); err == nil && v.Encode() != s {
			t.Fatalf("%q becomes %q", s, v.Encode())
		}
	})
}

// FuzzPassword: whatever the password, a verifier made of it accepts its own prover.
func FuzzPassword(f *testing.F) {
	f.Add([]byte("pencil"))
	f.Add([]byte("\u00ad"))
	f.Add([]byte("\xff\x00\x01"))
	f.Add([]byte("\u0627\u0031"))
	f.Fuzz(func(t *testing.T, password []byte) {
		if len(password) == 0 {
			return
		}
		v, err := scram.NewVerifier(password, []byte("salt"), 1)
		if err != nil {
			t.Fatal(err)
		}
		a, err := scram.NewAsker(v, "b", scram.Mechanism, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := scram.NewProver(scram.Credential{Password: password, MinIterations: 1}, "a", scram.Mechanism, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := run(p, a); err != nil {
			t.Fatal(err)
		}
	})
}
