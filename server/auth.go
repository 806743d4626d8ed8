package server

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/scram"
	"github.com/claimpool/claimpool/wire"
)

// authenticate proves that we are the role: one request, one proof, and AuthenticationOk only behind it.
func (l *login) authenticate(ctx context.Context) error {
	code, rest, err := l.nextAuth()
	if err != nil {
		return err
	}
	if code == wire.AuthOK {
		if !l.cfg.allows(MethodNone) {
			return errors.New("the server wants no proof, but the configuration demands one")
		}
		return nil
	}
	if err := l.prove(ctx, code, rest); err != nil {
		return err
	}
	// Nothing but success may follow: a second request would be for another, weaker form of the same password.
	_, err = l.expectAuth(wire.AuthOK)
	return err
}

// prove answers the server's request (protocol-flow, "Start-up"; "SASL Authentication").
func (l *login) prove(ctx context.Context, code uint32, rest []byte) error {
	method, err := l.choose(code, rest)
	if err != nil {
		return err
	}
	if !l.cfg.allows(method) {
		return fmt.Errorf("the server asks for %s, which the configuration does not allow", method)
	}
	credential, err := l.credential(ctx, method)
	if err != nil {
		return err
	}
	defer clear(credential.Password)
	switch method {
	case MethodPassword:
		return l.sendSecret(wire.AppendPassword(nil, credential.Password))
	case MethodMD5:
		return l.sendSecret(wire.AppendPassword(nil, md5Proof(l.cfg.Role, credential.Password, rest)))
	default:
		return l.scram(credential, method)
	}
}

// credential is what we log in with: what a client has proved itself with, or the configured password. Keys are good for SCRAM alone.
func (l *login) credential(ctx context.Context, method Method) (scram.Credential, error) {
	if l.cfg.Cleartext != nil && method == MethodPassword {
		if password := l.cfg.Cleartext(); len(password) > 0 {
			return scram.Credential{Password: password}, nil
		}
	}
	if l.cfg.Keys != nil {
		c, ok := l.cfg.Keys()
		switch {
		case ok && c.Password == nil && method != MethodSCRAM && method != MethodSCRAMPlus:
			return c, fmt.Errorf("the server asks for %s, but clients have proved themselves by SCRAM, which gives no password", method)
		case ok:
			return c, nil
		}
	}
	if l.cfg.Password == nil {
		return scram.Credential{}, fmt.Errorf("the server asks for %s, but there is no password", method)
	}
	password, err := l.cfg.Password(ctx)
	if err != nil {
		return scram.Credential{}, fmt.Errorf("get password: %w", err)
	}
	return scram.Credential{Password: password}, nil
}

// choose maps the server's request to a method, and refuses those that would give the password away.
func (l *login) choose(code uint32, rest []byte) (Method, error) {
	switch code {
	case wire.AuthCleartext:
		if !l.private() {
			return "", errors.New("the server asks for a cleartext password where somebody may listen")
		}
		return MethodPassword, nil
	case wire.AuthMD5:
		return MethodMD5, nil
	case wire.AuthSASL:
		mechs, err := wire.ParseSASLMechanisms(rest)
		if err != nil {
			return "", err
		}
		return l.mechanism(mechs)
	}
	return "", fmt.Errorf("the server asks for authentication method %d, which is not supported", code)
}

// private reports whether the password itself may be sent: over a unix socket, or over TLS that an attacker cannot have
// slipped in between. Mode prefer takes any certificate and also none, so it protects only on loopback.
func (l *login) private() bool {
	mode := l.cfg.TLS.mode(l.address)
	return l.address.unix() || l.tls != nil && (mode != ModePrefer || l.address.loopback())
}

// mechanism chooses among the SASL mechanisms that the server offers. Channel binding ties the login to this very TLS
// connection, so it is used whenever both sides can (RFC 5802, section 6).
func (l *login) mechanism(mechs []string) (Method, error) {
	plus := slices.Contains(mechs, scram.MechanismPlus)
	switch {
	case plus && l.tls == nil:
		// Only somebody between us and the server, who ended its TLS, would say so (libpq refuses this too).
		return "", errors.New("the server offers channel binding over a connection without TLS")
	case plus && l.binding() != nil:
		return MethodSCRAMPlus, nil
	case slices.Contains(mechs, scram.Mechanism):
		return MethodSCRAM, nil
	}
	return "", fmt.Errorf("the server offers no SASL mechanism that we speak, but %q", mechs)
}

// scram runs the proving side (RFC 5802; protocol-flow, "SCRAM-SHA-256 Authentication"). It ends only after the server has
// proved that it knows our verifier, so a server that skips a step gets nowhere.
func (l *login) scram(credential scram.Credential, method Method) error {
	raw := make([]byte, nonceSize)
	if _, err := io.ReadFull(l.cfg.rand(), raw); err != nil {
		return fmt.Errorf("make nonce: %w", err)
	}
	mech := scram.Mechanism
	if method == MethodSCRAMPlus {
		mech = scram.MechanismPlus
	}
	p, err := scram.NewProver(credential, base64.StdEncoding.EncodeToString(raw), mech, l.binding())
	if err != nil {
		return err
	}
	first, err := p.First()
	if err != nil {
		return err
	}
	if err := l.send(wire.AppendSASLInitial(nil, mech, first)); err != nil {
		return err
	}
	serverFirst, err := l.expectAuth(wire.AuthSASLContinue)
	if err != nil {
		return err
	}
	final, err := p.Final(serverFirst)
	if err != nil {
		return err
	}
	if err := l.send(wire.AppendSASLResponse(nil, final)); err != nil {
		return err
	}
	serverFinal, err := l.expectAuth(wire.AuthSASLFinal)
	if err != nil {
		return err
	}
	return p.Verify(serverFinal)
}

// nonceSize is the length of our nonce, as in libpq (SCRAM_RAW_NONCE_LEN).
const nonceSize = 18

// binding is what ties a login to this TLS connection: nil without TLS, when the configuration does not want it, or when
// the server's certificate has no such binding (Ed25519).
func (l *login) binding() *scram.Binding {
	if l.tls == nil || !l.cfg.allows(MethodSCRAMPlus) {
		return nil
	}
	data, err := scram.ServerEndPoint(l.tls.ConnectionState().PeerCertificates[0].Raw)
	if err != nil {
		return nil
	}
	return &scram.Binding{Type: scram.TLSServerEndPoint, Data: data}
}

// nextAuth reads the next authentication request. In front of the first one the server may lower the protocol version.
func (l *login) nextAuth() (code uint32, rest []byte, err error) {
	typ, body, err := l.receive()
	if err == nil && typ == wire.MsgNegotiateProtocolVersion {
		if err = l.negotiate(body); err == nil {
			typ, body, err = l.receive()
		}
	}
	if err != nil {
		return 0, nil, err
	}
	if typ != wire.MsgAuthentication {
		return 0, nil, fmt.Errorf("unexpected message %q during the authentication", typ)
	}
	return wire.ParseAuth(body)
}

// expectAuth reads an authentication message that must have the given code.
func (l *login) expectAuth(want uint32) ([]byte, error) {
	typ, body, err := l.receive()
	if err != nil {
		return nil, err
	}
	if typ != wire.MsgAuthentication {
		return nil, fmt.Errorf("unexpected message %q during the authentication", typ)
	}
	code, rest, err := wire.ParseAuth(body)
	if err == nil && code != want {
		err = fmt.Errorf("the server sent authentication message %d in place of %d", code, want)
	}
	return rest, err
}

// sendSecret sends a message that holds a secret, and wipes it.
func (l *login) sendSecret(b []byte) error {
	defer clear(b)
	return l.send(b)
}

// md5Proof is what AuthenticationMD5Password wants: "md5" and md5(md5(password user) salt) in hexadecimal
// (protocol-flow, "Start-up").
func md5Proof(role string, password claimpool.Secret, salt []byte) []byte {
	inner := md5.Sum(slices.Concat(password, []byte(role)))
	outer := md5.Sum(append(hex.AppendEncode(nil, inner[:]), salt...))
	return hex.AppendEncode([]byte("md5"), outer[:])
}
