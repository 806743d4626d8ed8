package scram

import (
	"crypto/subtle"
	"errors"
	"strings"
)

// Credential is what a Prover proves: a password, or the two keys that a password and a salt make.
type Credential struct {
	Password  []byte
	ClientKey []byte // used when Password is nil
	ServerKey []byte

	// MinIterations is the least iteration count that a server may ask for; 0 means DefaultIterations. A false server that
	// asks for one iteration gets a proof from which the password is quickly guessed.
	MinIterations int
}

// String hides the credential.
func (Credential) String() string { return "redacted" }

// GoString hides the credential from %#v.
func (Credential) GoString() string { return "redacted" }

// MarshalText hides the credential from encoders, and so from structured logs.
func (Credential) MarshalText() ([]byte, error) { return []byte("redacted"), nil }

// Binding is one channel binding of a connection.
type Binding struct {
	Type string // for instance TLSServerEndPoint
	Data []byte
}

// Prover logs in to one server, once:
//
//	First  → client-first
//	server-first → Final  → client-final
//	server-final → Verify
//
// The server is to be believed only when Done says so.
type Prover struct {
	credential Credential
	nonce      string
	gs2Header  string
	binding    []byte

	step        step
	authMessage string
	signature   []byte // that the server must send
}

// NewProver begins an exchange with a fresh random nonce. mech is the mechanism that we chose from the server's offer;
// binding is what this connection could be bound to, nil without TLS. With the plain mechanism and a binding the server is
// told that we could have bound: it then notices when its offer of -PLUS was taken away on the way.
func NewProver(c Credential, nonce, mech string, binding *Binding) (*Prover, error) {
	if err := checkNonce(nonce); err != nil {
		return nil, err
	}
	if c.Password == nil && (len(c.ClientKey) != keyLen || len(c.ServerKey) != keyLen) {
		return nil, errors.New("neither a password nor keys to prove")
	}
	p := &Prover{credential: c, nonce: nonce, gs2Header: "n,,"}
	switch {
	case mech == MechanismPlus && binding != nil && len(binding.Data) > 0 && validBindingType(binding.Type):
		p.gs2Header = "p=" + binding.Type + ",,"
		p.binding = binding.Data
	case mech == Mechanism && binding != nil:
		p.gs2Header = "y,,"
	case mech == Mechanism:
	default:
		return nil, errors.New("mechanism and channel binding contradict each other")
	}
	return p, nil
}

// First gives the client-first-message. The user name stays empty: PostgreSQL ignores it.
func (p *Prover) First() ([]byte, error) {
	if p.step != stepFirst {
		return nil, ErrOrder
	}
	p.step = stepFinal
	p.authMessage = "n=,r=" + p.nonce
	return []byte(p.gs2Header + p.authMessage), nil
}

// Final takes the server-first-message and gives the client-final-message.
func (p *Prover) Final(serverFirst []byte) ([]byte, error) {
	if p.step != stepFinal {
		return nil, ErrOrder
	}
	p.step = stepFailed
	if err := checkMessage(serverFirst); err != nil {
		return nil, err
	}
	nonce, salt, iterations, err := p.parseFirst(string(serverFirst))
	if err != nil {
		return nil, err
	}
	clientKey, serverKey, err := p.keys(salt, iterations)
	if err != nil {
		return nil, err
	}
	withoutProof := "c=" + encode64(append([]byte(p.gs2Header), p.binding...)) + ",r=" + nonce
	p.authMessage += "," + string(serverFirst) + "," + withoutProof
	proof := xor(clientKey, mac(storedKey(clientKey), p.authMessage))
	p.signature = mac(serverKey, p.authMessage)
	p.step = stepVerify
	return []byte(withoutProof + ",p=" + encode64(proof)), nil
}

// parseFirst takes the server-first-message apart: nonce "," salt "," iteration-count ["," extensions].
func (p *Prover) parseFirst(message string) (nonce string, salt []byte, iterations int, err error) {
	attrs := attributes{message}
	nonce, err = attrs.want('r') // also refuses "m=", a mandatory extension
	if err == nil {
		err = checkNonce(nonce)
	}
	if err == nil && (len(nonce) <= len(p.nonce) || !strings.HasPrefix(nonce, p.nonce)) {
		err = malformed("the server's nonce does not continue ours")
	}
	if err != nil {
		return "", nil, 0, err
	}
	text, err := attrs.want('s')
	if err == nil {
		salt, err = decode64(text, maxSalt)
	}
	if err == nil && len(salt) == 0 {
		err = malformed("empty salt")
	}
	if err != nil {
		return "", nil, 0, err
	}
	text, err = attrs.want('i')
	if err == nil {
		iterations, err = parseIterations(text)
	}
	if err == nil {
		err = attrs.skip()
	}
	least := p.credential.MinIterations
	if least == 0 {
		least = DefaultIterations
	}
	if err == nil && iterations < least {
		err = malformed("the server asks for %d iterations, %d are the least", iterations, least)
	}
	return nonce, salt, iterations, err
}

func (p *Prover) keys(salt []byte, iterations int) (client, server []byte, err error) {
	if p.credential.Password == nil {
		return p.credential.ClientKey, p.credential.ServerKey, nil
	}
	salted, err := saltedPassword(p.credential.Password, salt, iterations)
	if err != nil {
		return nil, nil, err
	}
	return clientKey(salted), serverKey(salted), nil
}

// Verify takes the server-final-message: the server's own proof that it knows our verifier, or its error.
//
//	server-final-message = (server-error / verifier) ["," extensions]
func (p *Prover) Verify(serverFinal []byte) error {
	if p.step != stepVerify {
		return ErrOrder
	}
	p.step = stepFailed
	if err := checkMessage(serverFinal); err != nil {
		return err
	}
	attrs := attributes{string(serverFinal)}
	name, value, ok := attrs.next()
	switch {
	case !ok || attrs.rest != "":
		return malformed("server-final-message")
	case name == 'e':
		return errors.New("the server refused the SCRAM exchange")
	case name != 'v':
		return malformed("server-final-message")
	}
	signature, err := decodeKey(value)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(signature, p.signature) != 1 {
		return ErrSignature
	}
	p.step = stepDone
	return nil
}

// Done reports whether the server has proved that it knows our verifier. AuthenticationOk counts only after that.
func (p *Prover) Done() bool { return p.step == stepDone }
