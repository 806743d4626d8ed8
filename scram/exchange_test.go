package scram_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/scram"
)

// The example of RFC 7677, section 3: user "user", password "pencil".
const (
	rfcClientNonce = "rOprNGfwEbeRWgbNEkqO"
	rfcServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	rfcClientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
	rfcServerFirst = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	rfcClientFinal = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	rfcServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
)

// binding is the channel binding of the tests' connection.
var binding = map[string][]byte{scram.TLSServerEndPoint: []byte("hash of the certificate")}

func rfcVerifier(t testing.TB) scram.Verifier {
	t.Helper()
	salt, err := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	if err != nil {
		t.Fatal(err)
	}
	v, err := scram.NewVerifier([]byte("pencil"), salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func asker(t testing.TB, mech string, bindings map[string][]byte) *scram.Asker {
	t.Helper()
	a, err := scram.NewAsker(rfcVerifier(t), rfcServerNonce, mech, bindings)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func prover(t testing.TB, password, mech string, b *scram.Binding) *scram.Prover {
	t.Helper()
	p, err := scram.NewProver(scram.Credential{Password: []byte(password)}, rfcClientNonce, mech, b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run lets a prover log in to an asker.
func run(p *scram.Prover, a *scram.Asker) error {
	m, err := p.First()
	if err != nil {
		return fmt.Errorf("prover's first: %w", err)
	}
	if m, err = a.First(m); err != nil {
		return fmt.Errorf("asker's first: %w", err)
	}
	if m, err = p.Final(m); err != nil {
		return fmt.Errorf("prover's final: %w", err)
	}
	if m, err = a.Final(m); err != nil {
		return fmt.Errorf("asker's final: %w", err)
	}
	return p.Verify(m)
}

// TestRFC7677 is the published exchange, with the published bytes.
func TestRFC7677(t *testing.T) {
	a := asker(t, scram.Mechanism, nil)
	m, err := a.First([]byte(rfcClientFirst))
	if err != nil || string(m) != rfcServerFirst {
		t.Fatalf("server-first %q, %v", m, err)
	}
	if a.ClientKey() != nil {
		t.Error("a client key before the proof")
	}
	m, err = a.Final([]byte(rfcClientFinal))
	if err != nil || string(m) != rfcServerFinal {
		t.Fatalf("server-final %q, %v", m, err)
	}
	if len(a.ClientKey()) != 32 {
		t.Error("no client key after the proof")
	}
}

func TestExchange(t *testing.T) {
	both := &scram.Binding{Type: scram.TLSServerEndPoint, Data: binding[scram.TLSServerEndPoint]}
	tests := []struct {
		name     string
		password string
		mech     string
		prover   *scram.Binding
		asker    map[string][]byte
		err      error
	}{
		{"plain", "pencil", scram.Mechanism, nil, nil, nil},
		{"bound", "pencil", scram.MechanismPlus, both, binding, nil},
		{"client can bind, server cannot", "pencil", scram.Mechanism, both, nil, nil},
		{"server can bind, client cannot", "pencil", scram.Mechanism, nil, binding, nil},
		{"both can bind, but the offer was taken away", "pencil", scram.Mechanism, both, binding, scram.ErrBinding},
		{"bound to another certificate", "pencil", scram.MechanismPlus,
			&scram.Binding{Type: scram.TLSServerEndPoint, Data: []byte("other")}, binding, scram.ErrBinding},
		{"bound by an unknown type", "pencil", scram.MechanismPlus,
			&scram.Binding{Type: "tls-unique", Data: []byte("x")}, binding, scram.ErrMalformed},
		{"wrong password", "Pencil", scram.Mechanism, nil, nil, scram.ErrProof},
		{"empty password", "", scram.Mechanism, nil, nil, scram.ErrProof},
		{"wrong password, bound", "pencil ", scram.MechanismPlus, both, binding, scram.ErrProof},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := prover(t, tt.password, tt.mech, tt.prover)
			a := asker(t, tt.mech, tt.asker)
			err := run(p, a)
			if !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			if ok := tt.err == nil; p.Done() != ok || (a.ClientKey() != nil) != ok {
				t.Errorf("Done %v, client key %v", p.Done(), a.ClientKey() != nil)
			}
		})
	}
}

// TestPassThrough logs in with the key that the asking side learned, without the password.
func TestPassThrough(t *testing.T) {
	a := asker(t, scram.Mechanism, nil)
	if err := run(prover(t, "pencil", scram.Mechanism, nil), a); err != nil {
		t.Fatal(err)
	}
	keys := scram.Credential{ClientKey: a.ClientKey(), ServerKey: rfcVerifier(t).ServerKey}
	p, err := scram.NewProver(keys, "another", scram.Mechanism, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(p, asker(t, scram.Mechanism, nil)); err != nil || !p.Done() {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	v, pw := rfcVerifier(t), scram.Credential{Password: []byte("x")}
	b := &scram.Binding{Type: scram.TLSServerEndPoint, Data: []byte("x")}
	long := strings.Repeat("n", 2000)
	askers := map[string]func() (*scram.Asker, error){
		"no nonce":                func() (*scram.Asker, error) { return scram.NewAsker(v, "", scram.Mechanism, nil) },
		"nonce with a comma":      func() (*scram.Asker, error) { return scram.NewAsker(v, "a,b", scram.Mechanism, nil) },
		"long nonce":              func() (*scram.Asker, error) { return scram.NewAsker(v, long, scram.Mechanism, nil) },
		"unknown mechanism":       func() (*scram.Asker, error) { return scram.NewAsker(v, "n", "SCRAM-SHA-1", nil) },
		"PLUS was not offered":    func() (*scram.Asker, error) { return scram.NewAsker(v, "n", scram.MechanismPlus, nil) },
		"mechanism in lower case": func() (*scram.Asker, error) { return scram.NewAsker(v, "n", "scram-sha-256", nil) },
	}
	for name, f := range askers {
		if a, err := f(); err == nil || a != nil {
			t.Errorf("asker, %s: accepted", name)
		}
	}
	provers := map[string]func() (*scram.Prover, error){
		"no nonce":  func() (*scram.Prover, error) { return scram.NewProver(pw, "", scram.Mechanism, nil) },
		"no secret": func() (*scram.Prover, error) { return scram.NewProver(scram.Credential{}, "n", scram.Mechanism, nil) },
		"half of the keys": func() (*scram.Prover, error) {
			return scram.NewProver(scram.Credential{ClientKey: make([]byte, 32)}, "n", scram.Mechanism, nil)
		},
		"unknown mechanism":    func() (*scram.Prover, error) { return scram.NewProver(pw, "n", "PLAIN", b) },
		"PLUS without binding": func() (*scram.Prover, error) { return scram.NewProver(pw, "n", scram.MechanismPlus, nil) },
		"PLUS without data": func() (*scram.Prover, error) {
			return scram.NewProver(pw, "n", scram.MechanismPlus, &scram.Binding{Type: "x"})
		},
		"type with a comma": func() (*scram.Prover, error) {
			return scram.NewProver(pw, "n", scram.MechanismPlus, &scram.Binding{Type: "x,y", Data: b.Data})
		},
	}
	for name, f := range provers {
		if p, err := f(); err == nil || p != nil {
			t.Errorf("prover, %s: accepted", name)
		}
	}
}

func TestStepsOutOfOrder(t *testing.T) {
	a := asker(t, scram.Mechanism, nil)
	if _, err := a.Final([]byte(rfcClientFinal)); !errors.Is(err, scram.ErrOrder) {
		t.Errorf("asker's final before first: %v", err)
	}
	if err := run(prover(t, "pencil", scram.Mechanism, nil), a); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Final([]byte(rfcClientFinal)); !errors.Is(err, scram.ErrOrder) {
		t.Errorf("asker's final twice: %v", err)
	}
	if _, err := a.First([]byte(rfcClientFirst)); !errors.Is(err, scram.ErrOrder) {
		t.Errorf("asker's first twice: %v", err)
	}

	p := prover(t, "pencil", scram.Mechanism, nil)
	if err := p.Verify([]byte(rfcServerFinal)); !errors.Is(err, scram.ErrOrder) || p.Done() {
		t.Errorf("prover's verify before final: %v", err)
	}
	if _, err := p.Final([]byte(rfcServerFirst)); !errors.Is(err, scram.ErrOrder) {
		t.Errorf("prover's final before first: %v", err)
	}
	if _, err := p.First(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.First(); !errors.Is(err, scram.ErrOrder) {
		t.Errorf("prover's first twice: %v", err)
	}
}

func TestVerifier(t *testing.T) {
	v := rfcVerifier(t)
	text := v.Encode()
	const want = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if text != want { // RFC 7677's StoredKey and ServerKey, as PostgreSQL writes them
		t.Errorf("got %s", text)
	}
	again, err := scram.ParseVerifier(text)
	if err != nil || again.Encode() != text {
		t.Errorf("%v, %v", again.Encode(), err)
	}
	refused := map[string]string{
		"empty":                 "",
		"a password":            "pencil",
		"md5":                   "md5d41d8cd98f00b204e9800998ecf8427e",
		"no keys":               "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==",
		"one key":               "SCRAM-SHA-256$4096:AAAA$" + strings.Repeat("A", 43) + "=",
		"short key":             strings.Replace(text, "WG5d8oPm", "", 1),
		"fourth part":           text + "$x",
		"other hash":            strings.Replace(text, "256", "512", 1),
		"iterations 0":          strings.Replace(text, "4096", "0", 1),
		"iterations negative":   strings.Replace(text, "4096", "-1", 1),
		"iterations with plus":  strings.Replace(text, "4096", "+4096", 1),
		"iterations with zeros": strings.Replace(text, "4096", "04096", 1),
		"iterations 2^31":       strings.Replace(text, "4096", "2147483648", 1),
		"iterations 2^64":       strings.Replace(text, "4096", "18446744073709551616", 1),
		"empty salt":            strings.Replace(text, "W22ZaJ0SNY7soEsUEjb6gQ==", "", 1),
		"salt not base64":       strings.Replace(text, "W22Z", "W2-Z", 1),
		"salt with a line end":  strings.Replace(text, "W22Z", "W2\n2Z", 1),
		"salt not canonical":    strings.Replace(text, "gQ==", "gR==", 1),
		"salt endless":          strings.Replace(text, "W22Z", strings.Repeat("W22Z", 1000), 1),
	}
	for name, s := range refused {
		t.Run("refused: "+name, func(t *testing.T) {
			_, err := scram.ParseVerifier(s)
			if err == nil {
				t.Fatal("accepted")
			}
			if s != "" && strings.Contains(err.Error(), s) {
				t.Error("the error shows the secret")
			}
		})
	}
	for _, n := range []int{0, -1, 1_000_001} {
		if _, err := scram.NewVerifier([]byte("x"), []byte("salt"), n); err == nil {
			t.Errorf("%d iterations accepted", n)
		}
	}
	if _, err := scram.NewVerifier([]byte("x"), nil, 4096); err == nil {
		t.Error("no salt accepted")
	}
}

// TestSecretsStayHidden prints secrets in every way that a log may.
func TestSecretsStayHidden(t *testing.T) {
	v := rfcVerifier(t)
	c := scram.Credential{Password: []byte("pencil")}
	for _, x := range []any{v, &v, c, &c} {
		j, err := json.Marshal(map[string]any{"x": x})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{fmt.Sprint(x), fmt.Sprintf("%+v", x), fmt.Sprintf("%#v", x), fmt.Sprintf("%s", x), string(j)} {
			if !strings.Contains(s, "redacted") || strings.Contains(s, "4096") || strings.Contains(s, "pencil") {
				t.Errorf("%T prints as %s", x, s)
			}
		}
	}
}

func TestMockVerifier(t *testing.T) {
	a, again := scram.MockVerifier([]byte("seed"), "ann", 4096), scram.MockVerifier([]byte("seed"), "ann", 4096)
	if a.Encode() != again.Encode() {
		t.Error("the mock of a user changes")
	}
	if len(a.Salt) != 16 || a.Iterations != 4096 {
		t.Error("the mock does not look like a user's verifier")
	}
	if bytes.Equal(a.Salt, scram.MockVerifier([]byte("seed"), "bob", 4096).Salt) {
		t.Error("two users, one salt")
	}
	if bytes.Equal(a.Salt, scram.MockVerifier([]byte("other"), "ann", 4096).Salt) {
		t.Error("two seeds, one salt")
	}
}
