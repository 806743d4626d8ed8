package scram_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/scram"
)

// TestAttackClientFirst: the attacker has a connection and sends first messages that are malformed, endless, or ask for what
// PostgreSQL refuses.
//
// Must: Each is refused, and the exchange must be dead afterwards.
func TestAttackClientFirst(t *testing.T) {
	tests := []struct {
		name, in string
		mech     string
		bindings map[string][]byte
		err      error
	}{
		{"empty", "", scram.Mechanism, nil, scram.ErrMalformed},
		{"header only", "n,,", scram.Mechanism, nil, scram.ErrMalformed},
		{"no header", "n=user,r=abc", scram.Mechanism, nil, scram.ErrMalformed},
		{"unknown flag", "x,,n=,r=abc", scram.Mechanism, nil, scram.ErrMalformed},
		{"flag of two letters", "ny,,n=,r=abc", scram.Mechanism, nil, scram.ErrMalformed},
		{"flag in upper case", "N,,n=,r=abc", scram.Mechanism, nil, scram.ErrMalformed},
		{"authorization identity", "n,a=postgres,n=,r=abc", scram.Mechanism, nil, scram.ErrMalformed},
		{"authorization identity without a name", "n,postgres,n=,r=abc", scram.Mechanism, nil, scram.ErrMalformed},
		{"mandatory extension", "n,,m=x,n=,r=abc", scram.Mechanism, nil, scram.ErrMalformed},
		{"user missing", "n,,r=abc", scram.Mechanism, nil, scram.ErrMalformed},
		{"nonce missing", "n,,n=", scram.Mechanism, nil, scram.ErrMalformed},
		{"nonce empty", "n,,n=,r=", scram.Mechanism, nil, scram.ErrMalformed},
		{"nonce before user", "n,,r=abc,n=", scram.Mechanism, nil, scram.ErrMalformed},
		{"nonce with a space", "n,,n=,r=a c", scram.Mechanism, nil, scram.ErrMalformed},
		{"nonce with a byte above ASCII", "n,,n=,r=a\xffc", scram.Mechanism, nil, scram.ErrMalformed},
		{"NUL byte", "n,,n=,r=abc\x00", scram.Mechanism, nil, scram.ErrMalformed},
		{"line end", "n,,n=,r=abc\n", scram.Mechanism, nil, scram.ErrMalformed},
		{"endless nonce", "n,,n=,r=" + strings.Repeat("a", 2000), scram.Mechanism, nil, scram.ErrMalformed},
		{"endless message", "n,,n=" + strings.Repeat("a", 1<<20) + ",r=abc", scram.Mechanism, nil, scram.ErrMalformed},
		{"extension without a name", "n,,n=,r=abc,x", scram.Mechanism, nil, scram.ErrMalformed},
		{"binding in the plain mechanism", "p=tls-server-end-point,,n=,r=abc", scram.Mechanism, binding, scram.ErrMalformed},
		{"no binding in the PLUS mechanism", "n,,n=,r=abc", scram.MechanismPlus, binding, scram.ErrMalformed},
		{"denied binding in the PLUS mechanism", "y,,n=,r=abc", scram.MechanismPlus, binding, scram.ErrMalformed},
		{"binding of an unknown type", "p=tls-unique,,n=,r=abc", scram.MechanismPlus, binding, scram.ErrMalformed},
		{"binding without a type", "p=,,n=,r=abc", scram.MechanismPlus, binding, scram.ErrMalformed},
		{"binding without data on our side", "p=x,,n=,r=abc", scram.MechanismPlus, map[string][]byte{"x": nil}, scram.ErrMalformed},
		{"offer of PLUS taken away on the way", "y,,n=,r=abc", scram.Mechanism, binding, scram.ErrBinding},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := asker(t, tt.mech, tt.bindings)
			if _, err := a.First([]byte(tt.in)); !errors.Is(err, tt.err) {
				t.Fatalf("got %v", err)
			}
			if _, err := a.First([]byte(rfcClientFirst)); !errors.Is(err, scram.ErrOrder) {
				t.Errorf("a second try: %v", err)
			}
			if _, err := a.Final([]byte(rfcClientFinal)); !errors.Is(err, scram.ErrOrder) {
				t.Errorf("the proof all the same: %v", err)
			}
		})
	}
}

// TestAttackClientFinal: the attacker has seen a good exchange, and sends its last message with changes: replayed, reordered,
// cut, prolonged.
//
// Must: Only the very message may pass.
func TestAttackClientFinal(t *testing.T) {
	const proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	const nonce = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	tests := []struct {
		name, in string
		err      error
	}{
		{"empty", "", scram.ErrMalformed},
		{"binding only", "c=biws", scram.ErrMalformed},
		{"without a proof", "c=biws," + nonce, scram.ErrMalformed},
		{"empty proof", "c=biws," + nonce + ",p=", scram.ErrMalformed},
		{"short proof", "c=biws," + nonce + ",p=AAAA", scram.ErrMalformed},
		{"long proof", "c=biws," + nonce + "," + proof + "AAAA", scram.ErrMalformed},
		{"proof of zeros", "c=biws," + nonce + ",p=" + base64.StdEncoding.EncodeToString(make([]byte, 32)), scram.ErrProof},
		{"first bit of the proof", "c=biws," + nonce + ",p=9" + proof[3:], scram.ErrProof},
		{"unused bits of the proof", "c=biws," + nonce + "," + strings.Replace(proof, "VQ=", "VR=", 1), scram.ErrMalformed},
		{"line end in the proof", "c=biws," + nonce + "," + strings.Replace(proof, "Ute", "U\nte", 1), scram.ErrMalformed},
		{"comma behind the proof", rfcClientFinal + ",", scram.ErrMalformed},
		{"extension behind the proof", rfcClientFinal + ",x=y", scram.ErrMalformed},
		{"second proof", rfcClientFinal + "," + proof, scram.ErrMalformed},
		{"NUL byte behind the proof", rfcClientFinal + "\x00", scram.ErrMalformed},
		{"extension that was not signed", "c=biws," + nonce + ",x=y," + proof, scram.ErrProof},
		{"nonce of another exchange", strings.Replace(rfcClientFinal, "k0", "k1", 1), scram.ErrMalformed},
		{"client's half of the nonce only", "c=biws,r=rOprNGfwEbeRWgbNEkqO," + proof, scram.ErrMalformed},
		{"nonce with more behind it", "c=biws," + nonce + "x," + proof, scram.ErrMalformed},
		{"nonce before the binding", nonce + ",c=biws," + proof, scram.ErrMalformed},
		{"other header than in the first message", strings.Replace(rfcClientFinal, "biws", "eSws", 1), scram.ErrBinding},
		{"binding data without a binding", strings.Replace(rfcClientFinal, "biws", "biwsYWJj", 1), scram.ErrBinding},
		{"empty binding", strings.Replace(rfcClientFinal, "biws", "", 1), scram.ErrBinding},
		{"endless", "c=biws," + nonce + ",x=" + strings.Repeat("y", 1<<20) + "," + proof, scram.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := asker(t, scram.Mechanism, nil)
			if _, err := a.First([]byte(rfcClientFirst)); err != nil {
				t.Fatal(err)
			}
			m, err := a.Final([]byte(tt.in))
			if !errors.Is(err, tt.err) || m != nil || a.ClientKey() != nil {
				t.Fatalf("got %q, %v", m, err)
			}
			if _, err := a.Final([]byte(rfcClientFinal)); !errors.Is(err, scram.ErrOrder) {
				t.Errorf("a second try: %v", err)
			}
		})
	}
}

// TestAttackReplay: the attacker has recorded a whole login, and plays the client's part again on a new connection.
//
// Must: The server's half of the nonce is new, so the recorded proof must fail.
func TestAttackReplay(t *testing.T) {
	a, err := scram.NewAsker(rfcVerifier(t), "freshNonce", scram.Mechanism, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.First([]byte(rfcClientFirst)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Final([]byte(rfcClientFinal)); err == nil {
		t.Error("the replay passed")
	}
}

// TestAttackUnknownUser: the attacker tries a user who does not exist, even with a proof that fits the mock verifier's keys.
//
// Must: The answers must look like those for a user, and the end must be the same refusal as for a wrong password.
func TestAttackUnknownUser(t *testing.T) {
	v := scram.MockVerifier([]byte("seed"), "nobody", scram.DefaultIterations)
	a, err := scram.NewAsker(v, rfcServerNonce, scram.Mechanism, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(prover(t, "pencil", scram.Mechanism, nil), a); !errors.Is(err, scram.ErrProof) {
		t.Errorf("got %v", err)
	}

	// The keys of "pencil" in a mock: the proof is right, and still there is no such user.
	real := rfcVerifier(t)
	v.Salt, v.StoredKey, v.ServerKey = real.Salt, real.StoredKey, real.ServerKey
	if a, err = scram.NewAsker(v, rfcServerNonce, scram.Mechanism, nil); err != nil {
		t.Fatal(err)
	}
	if err := run(prover(t, "pencil", scram.Mechanism, nil), a); !errors.Is(err, scram.ErrProof) {
		t.Errorf("right proof: got %v", err)
	}
}

// TestAttackHostileServerFirst: the attacker is the server, or sits before it: long nonces and salts (CVE-2026-6665),
// iteration counts that keep us busy for hours, or so low that our proof gives the password away.
//
// Must: Such a server is refused before we compute for it.
func TestAttackHostileServerFirst(t *testing.T) {
	const r, s = "r=" + rfcClientNonce + "x", ",s=W22ZaJ0SNY7soEsUEjb6gQ=="
	tests := map[string]string{
		"empty":                    "",
		"nothing of ours":          "r=x" + s + ",i=4096",
		"our nonce alone":          "r=" + rfcClientNonce + s + ",i=4096",
		"our nonce at the end":     "r=x" + rfcClientNonce + s + ",i=4096",
		"nonce of 64 kB":           r + strings.Repeat("x", 64<<10) + s + ",i=4096",
		"nonce of 2 kB":            r + strings.Repeat("x", 2<<10) + s + ",i=4096",
		"nonce with a control":     r + "\x01" + s + ",i=4096",
		"no salt":                  r + ",i=4096",
		"empty salt":               r + ",s=,i=4096",
		"salt of 4 kB":             r + ",s=" + strings.Repeat("AAAA", 1366) + ",i=4096",
		"salt of 64 kB":            r + ",s=" + strings.Repeat("AAAA", 22_000) + ",i=4096",
		"salt not base64":          r + ",s=***,i=4096",
		"no iterations":            r + s,
		"iterations empty":         r + s + ",i=",
		"iterations 0":             r + s + ",i=0",
		"iterations 1":             r + s + ",i=1",
		"iterations 4095":          r + s + ",i=4095",
		"iterations negative":      r + s + ",i=-4096",
		"iterations a million one": r + s + ",i=1000001",
		"iterations 2^31":          r + s + ",i=2147483648",
		"iterations 2^64 + 4096":   r + s + ",i=18446744073709555712",
		"iterations and letters":   r + s + ",i=4096x",
		"iterations with a space":  r + s + ",i= 4096",
		"iterations in hex":        r + s + ",i=0x1000",
		"mandatory extension":      "m=x," + r + s + ",i=4096",
		"extension without a name": r + s + ",i=4096,x",
		"an error":                 "e=other-error",
		"order changed":            r + ",i=4096" + s,
		"NUL byte":                 r + s + ",i=4096\x00",
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			p := prover(t, "pencil", scram.Mechanism, nil)
			if _, err := p.First(); err != nil {
				t.Fatal(err)
			}
			m, err := p.Final([]byte(in))
			if !errors.Is(err, scram.ErrMalformed) || m != nil {
				t.Fatalf("got %q, %v", m, err)
			}
			if _, err := p.Final([]byte(rfcServerFirst)); !errors.Is(err, scram.ErrOrder) {
				t.Errorf("a second try: %v", err)
			}
		})
	}

	weak, err := scram.NewVerifier([]byte("pencil"), []byte("salt"), 1)
	if err != nil {
		t.Fatal(err)
	}
	a, err := scram.NewAsker(weak, "nonce", scram.Mechanism, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := scram.Credential{Password: []byte("pencil"), MinIterations: 1}
	p, err := scram.NewProver(c, "abc", scram.Mechanism, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(p, a); err != nil {
		t.Errorf("one iteration, when the operator allows it: %v", err)
	}
}

// TestAttackHostileServerFinal: the attacker is a server that does not know the verifier, but wants to be believed.
//
// Must: Whatever it sends at the end, Done must stay false.
func TestAttackHostileServerFinal(t *testing.T) {
	tests := map[string]string{
		"empty":               "",
		"no signature":        "v=",
		"signature of zeros":  "v=" + base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"one bit":             strings.Replace(rfcServerFinal, "v=6", "v=7", 1),
		"short signature":     "v=AAAA",
		"bytes behind":        rfcServerFinal + "AAAA",
		"extension behind":    rfcServerFinal + ",x=y",
		"another attribute":   "p=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
		"an error":            "e=invalid-proof",
		"error, then success": "e=x," + rfcServerFinal,
		"line end":            rfcServerFinal + "\n",
		"NUL byte":            rfcServerFinal + "\x00",
		"endless":             "v=" + strings.Repeat("A", 1<<20),
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			p := prover(t, "pencil", scram.Mechanism, nil)
			if _, err := p.First(); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Final([]byte(rfcServerFirst)); err != nil {
				t.Fatal(err)
			}
			if err := p.Verify([]byte(in)); err == nil || p.Done() {
				t.Errorf("got %v, Done %v", err, p.Done())
			}
			if err := p.Verify([]byte(in)); !errors.Is(err, scram.ErrOrder) {
				t.Errorf("a second try: %v", err)
			}
		})
	}
}
