package extension_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// sealRaw writes an envelope for X25519 from RFC 7518, section 4.6, by hand. point, if given, stands for the sender's key.
func sealRaw(t testing.TB, token string, recipient *ecdh.PublicKey, point []byte, more string) string {
	t.Helper()
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := own.ECDH(recipient)
	if err != nil {
		t.Fatal(err)
	}
	if point == nil {
		point = own.PublicKey().Bytes()
	} else {
		secret = make([]byte, 32)
	}
	header := fmt.Sprintf(`{"alg":"ECDH-ES","enc":"A256GCM","cty":"JWT","kid":"x","epk":{"kty":"OKP","crv":"X25519","x":"%s"}%s}`, b64(point), more)
	apu, apv := "", ""
	if more != "" {
		apu, apv = "Alice", "Bob"
	}
	return sealContent(t, token, header, concatKDF(secret, apu, apv))
}

// sealContent encrypts with a content key under any header.
func sealContent(t testing.TB, plaintext, header string, key []byte) string {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	iv := make([]byte, 12)
	rand.Read(iv)
	authenticated := b64([]byte(header))
	sealed := gcm.Seal(nil, iv, []byte(plaintext), []byte(authenticated))
	end := len(sealed) - 16
	return strings.Join([]string{authenticated, "", b64(iv), b64(sealed[:end]), b64(sealed[end:])}, ".")
}

// concatKDF is NIST SP 800-56A's, one round, for A256GCM.
func concatKDF(secret []byte, apu, apv string) []byte {
	input := append([]byte{0, 0, 0, 1}, secret...)
	for _, part := range []string{"A256GCM", apu, apv} {
		input = append(binary.BigEndian.AppendUint32(input, uint32(len(part))), part...)
	}
	key := sha256.Sum256(binary.BigEndian.AppendUint32(input, 256))
	return key[:]
}

// sealP256 writes an envelope for P-256 by hand, so that its header can be anything. epk: members instead of the sender's.
func sealP256(t testing.TB, plaintext string, recipient *ecdsa.PublicKey, change func(header, epk map[string]any)) string {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := own.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := recipient.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := mine.ECDH(theirs)
	if err != nil {
		t.Fatal(err)
	}
	point := mine.PublicKey().Bytes()
	epk := map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
	header := map[string]any{"alg": "ECDH-ES", "enc": "A256GCM", "cty": "JWT", "kid": "p256", "epk": epk}
	if change != nil {
		change(header, epk)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return sealContent(t, plaintext, string(text), concatKDF(secret, "", ""))
}

// part changes one of the five parts of an envelope.
func part(sealed string, number int, change func(string) string) string {
	parts := strings.Split(sealed, ".")
	parts[number] = change(parts[number])
	return strings.Join(parts, ".")
}

// flipped is the same text with another character in its middle.
func flipped(text string) string {
	middle, other := len(text)/2, byte('A')
	if text[middle] == other {
		other = 'B'
	}
	return text[:middle] + string(other) + text[middle+1:]
}

func constant(text string) func(string) string { return func(string) string { return text } }

func encryptedTokens(t testing.TB, key ed25519.PrivateKey, r recipients) []directToken {
	token := mint(t, key, edHeader, claims(""))
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	public := r["p256"].(*ecdsa.PrivateKey).PublicKey
	hand := func(change func(header, epk map[string]any)) string { return sealP256(t, token, &public, change) }
	member := func(name string, value any) string {
		return hand(func(header, _ map[string]any) { header[name] = value })
	}
	without := func(name string) string {
		return hand(func(header, _ map[string]any) { delete(header, name) })
	}
	epk := func(name string, value any) string {
		return hand(func(_, epk map[string]any) { epk[name] = value })
	}
	ec := seal(t, token, jose.ECDH_ES, "p256", &public, nil)
	rsaPublic := r["rsa"].Public().(*rsa.PublicKey)
	oaep := seal(t, token, jose.RSA_OAEP_256, "rsa", rsaPublic, nil)
	list := []directToken{
		{"good", ec, ""}, {"good, by hand", hand(nil), ""}, {"good, RSA", oaep, ""},
		{"media type in full", member("cty", "application/jwt"), ""},
		{"apu and apv that are empty", hand(func(header, _ map[string]any) { header["apu"], header["apv"] = "", "" }), ""},
		{"signed by another", seal(t, mint(t, stranger, edHeader, claims("")), jose.ECDH_ES, "p256", &public, nil), "signature verification failed"},
		{"expired", seal(t, mint(t, key, edHeader, `{"exp":1}`), jose.ECDH_ES, "p256", &public, nil), "token has expired"},
		{"bound to another role", seal(t, mint(t, key, edHeader, claims(`,"cnf":{"role":"pool"}`)), jose.ECDH_ES, "p256", &public, nil), "token is bound to another role"},
		{"four parts", ec[:strings.LastIndex(ec, ".")], "failed to parse JWT token signature (extra separator)"},
		{"six parts", ec + ".AAAA", "failed to parse JWT token signature (extra separator)"},
		{"too long", ec + strings.Repeat("A", 70000), "token is too long"},
	}
	closed := map[string]string{
		"claims without a signature":    sealP256(t, claims(""), &public, nil),
		"an envelope in an envelope":    sealP256(t, ec, &public, nil),
		"inner alg none":                sealP256(t, b64([]byte(`{"alg":"none"}`))+"."+b64([]byte(claims("")))+".", &public, nil),
		"inner alg of encryption":       sealP256(t, mint(t, key, `{"alg":"ECDH-ES"}`, claims("")), &public, nil),
		"inner crit":                    sealP256(t, mint(t, key, `{"alg":"EdDSA","crit":["exp"]}`, claims("")), &public, nil),
		"zero byte":                     sealP256(t, token+"\x00", &public, nil),
		"nothing in it":                 sealP256(t, "", &public, nil),
		"compressed":                    seal(t, token, jose.ECDH_ES, "p256", &public, func(o *jose.EncrypterOptions) { o.Compression = jose.DEFLATE }),
		"zip null":                      member("zip", nil),
		"crit":                          member("crit", []string{"exp"}),
		"crit empty":                    member("crit", []string{}),
		"no cty":                        without("cty"),
		"cty of something else":         member("cty", "json"),
		"no enc":                        without("enc"),
		"enc in another case":           member("enc", "a256gcm"),
		"enc A128GCM":                   sealWith(t, token, jose.ECDH_ES, jose.A128GCM, "p256", &public, nil),
		"enc A192GCM":                   sealWith(t, token, jose.ECDH_ES, jose.A192GCM, "p256", &public, nil),
		"enc A256CBC-HS512":             sealWith(t, token, jose.RSA_OAEP_256, jose.A256CBC_HS512, "rsa", rsaPublic, nil),
		"enc is an array":               member("enc", []string{"A256GCM"}),
		"alg none":                      member("alg", "none"),
		"no alg":                        without("alg"),
		"alg RSA-OAEP":                  seal(t, token, jose.RSA_OAEP, "rsa", rsaPublic, nil),
		"alg RSA1_5":                    seal(t, token, jose.RSA1_5, "rsa", rsaPublic, nil),
		"alg with key wrapping":         seal(t, token, jose.ECDH_ES_A256KW, "p256", &public, nil),
		"alg dir with zeros":            sealContent(t, token, `{"alg":"dir","enc":"A256GCM","cty":"JWT","kid":"p256"}`, make([]byte, 32)),
		"alg of the other key":          seal(t, token, jose.ECDH_ES, "rsa", &public, nil),
		"RSA header over an agreed key": hand(func(header, _ map[string]any) { header["alg"] = "RSA-OAEP-256"; header["kid"] = "rsa" }),
		"duplicate alg":                 part(ec, 0, constant(b64([]byte(`{"alg":"ECDH-ES","alg":"ECDH-ES","enc":"A256GCM","cty":"JWT"}`)))),
		"kid of another":                member("kid", "p384"),
		"kid of nobody":                 member("kid", "../../etc/passwd"),
		"kid is a number":               member("kid", 7),
		"kid is long":                   member("kid", strings.Repeat("k", 5000)),
		"no kid":                        without("kid"),
		"no epk":                        without("epk"),
		"epk is a string":               member("epk", "x"),
		"epk null":                      member("epk", nil),
		"epk zero":                      hand(func(_, e map[string]any) { e["x"], e["y"] = b64(make([]byte, 32)), b64(make([]byte, 32)) }),
		"epk beside the curve":          epk("y", b64(append(make([]byte, 31), 1))),
		"epk above the field":           epk("x", b64([]byte(strings.Repeat("\xff", 32)))),
		"epk short":                     epk("x", b64(make([]byte, 31))),
		"epk of another curve":          epk("crv", "P-384"),
		"epk of no curve":               epk("crv", "secp256k1"),
		"epk RSA":                       epk("kty", "RSA"),
		"epk without y":                 hand(func(_, e map[string]any) { delete(e, "y") }),
		"epk X25519":                    hand(func(h, e map[string]any) { h["epk"] = map[string]any{"kty": "OKP", "crv": "X25519", "x": e["x"]} }),
		"apu that was not agreed":       member("apu", "QWxpY2U"),
		"apu is a number":               member("apu", 1),
		"apu is no base64url":           member("apu", "=="),
		"apv is long":                   member("apv", strings.Repeat("A", 8000)),
		"a key beside the agreement":    part(ec, 1, constant(b64(make([]byte, 32)))),
		"no encrypted key":              part(oaep, 1, constant("")),
		"encrypted key is short":        part(oaep, 1, constant(b64(make([]byte, 32)))),
		"encrypted key is zero":         part(oaep, 1, constant(b64(make([]byte, 256)))),
		"encrypted key is large":        part(oaep, 1, constant(b64([]byte(strings.Repeat("\xff", 256))))),
		"encrypted key of 8,192 bits":   part(oaep, 1, constant(b64(make([]byte, 1024)))),
		"five parts of a signed token":  token + ".x.y",
		"five empty parts":              "....",
		"header is no JSON":             part(ec, 0, constant(b64([]byte(`{`)))),
		"header is an array":            part(ec, 0, constant(b64([]byte(`[]`)))),
		"padding":                       part(ec, 2, func(p string) string { return p + "=" }),
		"tag is short":                  part(ec, 4, func(p string) string { return p[:16] }),
		"no tag":                        part(ec, 4, constant("")),
		"no iv":                         part(ec, 2, constant("")),
		"iv of 16 bytes":                part(ec, 2, constant(b64(make([]byte, 16)))),
		"header and rest of two tokens": part(ec, 0, constant(strings.Split(hand(nil), ".")[0])),
	}
	for i, name := range []string{"header", "encrypted key", "iv", "ciphertext", "tag"} {
		closed["changed "+name] = part(oaep, i, flipped)
	}
	for name, text := range closed {
		list = append(list, directToken{name, text, closedText})
	}
	return list
}
