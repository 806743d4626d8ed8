package scram

import (
	"crypto/subtle"
	"errors"
	"strconv"
	"strings"
)

// Asker checks the proof of one client, once:
//
//	client-first →  First  → server-first
//	client-final →  Final  → server-final
//
// After an error it is of no further use.
type Asker struct {
	verifier Verifier
	nonce    string // our half, then both halves
	plus     bool   // the client chose the -PLUS mechanism
	bindings map[string][]byte

	step        step
	gs2Header   string // as the client sent it
	binding     []byte // data of the chosen binding; nil without one
	authMessage string // AuthMessage of RFC 5802, section 3, as far as it is known
	clientKey   []byte
}

type step int

const (
	stepFirst step = iota
	stepFinal
	stepVerify
	stepDone
	stepFailed
)

// NewAsker begins an exchange. mech is the mechanism that the client chose; nonce is fresh and random, at least 18 bytes
// in base64 or so. bindings holds the channel bindings that this connection can check, by type, and is empty when the
// -PLUS mechanism was not offered.
func NewAsker(v Verifier, nonce, mech string, bindings map[string][]byte) (*Asker, error) {
	if err := checkNonce(nonce); err != nil {
		return nil, err
	}
	a := &Asker{verifier: v, nonce: nonce, bindings: bindings}
	switch {
	case mech == Mechanism:
	case mech == MechanismPlus && len(bindings) > 0:
		a.plus = true
	default:
		return nil, errors.New("client selected an invalid SASL authentication mechanism")
	}
	return a, nil
}

// First takes the client-first-message and gives the server-first-message (RFC 5802, section 7):
//
//	client-first-message = gs2-header [reserved-mext ","] username "," nonce ["," extensions]
//	gs2-header           = gs2-cbind-flag "," [authzid] ","
//	gs2-cbind-flag       = ("p=" cb-name) / "n" / "y"
//	server-first-message = nonce "," salt "," iteration-count
func (a *Asker) First(clientFirst []byte) ([]byte, error) {
	if a.step != stepFirst {
		return nil, ErrOrder
	}
	a.step = stepFailed
	if err := checkMessage(clientFirst); err != nil {
		return nil, err
	}
	flag, rest, ok := strings.Cut(string(clientFirst), ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	if !ok || !ok2 {
		return nil, malformed("no GS2 header")
	}
	if err := a.chooseBinding(flag); err != nil {
		return nil, err
	}
	if authzid != "" {
		return nil, malformed("authorization identity, which is not supported")
	}
	attrs := attributes{bare}
	if _, err := attrs.want('n'); err != nil { // also refuses "m=", a mandatory extension
		return nil, err
	}
	nonce, err := attrs.want('r')
	if err == nil {
		err = checkNonce(nonce)
	}
	if err == nil {
		err = attrs.skip()
	}
	if err != nil {
		return nil, err
	}
	a.gs2Header = flag + ",,"
	a.nonce = nonce + a.nonce
	serverFirst := "r=" + a.nonce + ",s=" + encode64(a.verifier.Salt) + ",i=" + strconv.Itoa(a.verifier.Iterations)
	a.authMessage = bare + "," + serverFirst + ","
	a.step = stepFinal
	return []byte(serverFirst), nil
}

// chooseBinding checks the GS2 flag against what was offered and chosen (RFC 5802, section 6). The flag "y" says "I can
// bind, but you do not offer it": when we did offer it, somebody in the middle took the offer away.
func (a *Asker) chooseBinding(flag string) error {
	name, bound := strings.CutPrefix(flag, "p=")
	switch {
	case bound != a.plus:
		return malformed("the mechanism and the channel binding flag contradict each other")
	case bound:
		data, ok := a.bindings[name]
		if !ok || len(data) == 0 {
			return malformed("channel binding type that is not supported")
		}
		a.binding = data
		return nil
	case flag == "n":
		return nil
	case flag == "y" && len(a.bindings) > 0:
		return ErrBinding
	case flag == "y":
		return nil
	}
	return malformed("channel binding flag")
}

// Final takes the client-final-message, and gives the server-final-message when the proof is right:
//
//	client-final-message = channel-binding "," nonce ["," extensions] "," proof
//	server-final-message = verifier
//
// The work is the same for every proof, and for a user who does not exist.
func (a *Asker) Final(clientFinal []byte) ([]byte, error) {
	if a.step != stepFinal {
		return nil, ErrOrder
	}
	a.step = stepFailed
	if err := checkMessage(clientFinal); err != nil {
		return nil, err
	}
	withoutProof, proof, err := a.parseFinal(string(clientFinal))
	if err != nil {
		return nil, err
	}
	authMessage := a.authMessage + withoutProof
	clientKey := xor(proof, mac(a.verifier.StoredKey, authMessage))
	signature := mac(a.verifier.ServerKey, authMessage)
	match := subtle.ConstantTimeCompare(storedKey(clientKey), a.verifier.StoredKey) == 1
	if !match || a.verifier.doomed {
		return nil, ErrProof
	}
	a.clientKey = clientKey
	a.step = stepDone
	return []byte("v=" + encode64(signature)), nil
}

// parseFinal takes the client-final-message apart: what is signed, and the proof, which must come last.
func (a *Asker) parseFinal(message string) (withoutProof string, proof []byte, err error) {
	attrs := attributes{message}
	binding, err := attrs.want('c')
	if err != nil {
		return "", nil, err
	}
	expected := encode64(append([]byte(a.gs2Header), a.binding...))
	if subtle.ConstantTimeCompare([]byte(binding), []byte(expected)) != 1 {
		return "", nil, ErrBinding
	}
	nonce, err := attrs.want('r')
	if err != nil {
		return "", nil, err
	}
	if subtle.ConstantTimeCompare([]byte(nonce), []byte(a.nonce)) != 1 {
		return "", nil, malformed("nonce is not the one of this exchange")
	}
	for {
		before := len(message) - len(attrs.rest)
		name, value, ok := attrs.next()
		switch {
		case !ok:
			return "", nil, malformed("no proof")
		case name != 'p':
			continue // an optional extension
		case attrs.rest != "" || strings.HasSuffix(message, ","):
			return "", nil, malformed("bytes behind the proof")
		}
		proof, err = decodeKey(value)
		return message[:before-1], proof, err
	}
}

// ClientKey gives the client's key once its proof was right, nil before. With it a Prover can log in to a server that has
// the same verifier.
func (a *Asker) ClientKey() []byte { return a.clientKey }
