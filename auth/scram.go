package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/scram"
	"github.com/claimpool/claimpool/wire"
)

const (
	// maxSASL bounds a SASL message, as PostgreSQL does (PG_MAX_SASL_MESSAGE_LENGTH): nothing is proved yet.
	maxSASL = 1024
	// nonceSize is the length of our nonce, as in PostgreSQL (SCRAM_RAW_NONCE_LEN).
	nonceSize = 18
)

// scram runs SCRAM-SHA-256, or -PLUS over TLS (protocol-flow, "SCRAM-SHA-256 Authentication").
func (x *exchange) scram(s stored, known bool) (*claimpool.Identity, error) {
	verifier, err := s.verifier(x.req.User, x.auth.seed)
	if err != nil {
		return nil, err
	}
	bindings := x.req.bindings()
	mechs := []string{scram.Mechanism}
	if len(bindings) > 0 {
		mechs = []string{scram.MechanismPlus, scram.Mechanism}
	}
	if err := x.send(wire.AppendAuthSASL(nil, mechs...)); err != nil {
		return nil, err
	}
	mech, first, err := x.saslInitial(mechs, maxSASL)
	if err != nil {
		return nil, err
	}
	nonce, err := x.auth.nonce()
	if err != nil {
		return nil, err
	}
	asker, err := scram.NewAsker(verifier, nonce, mech, bindings)
	if err != nil {
		return nil, err
	}
	serverFirst, err := asker.First(first)
	if err != nil {
		return nil, broken(err)
	}
	if err := x.send(wire.AppendAuthSASLContinue(nil, serverFirst)); err != nil {
		return nil, err
	}
	final, err := x.receive(maxSASL)
	if err != nil {
		return nil, err
	}
	serverFinal, err := asker.Final(final)
	switch {
	case errors.Is(err, scram.ErrMalformed): // before the question who it is: it must read the same for everybody
		return nil, broken(err)
	case !known:
		return nil, errUnknown
	case err != nil:
		return nil, err
	}
	key := asker.ClientKey()
	x.proved = func() error {
		if err := x.send(wire.AppendAuthSASLFinal(nil, serverFinal)); err != nil {
			return err
		}
		x.remember(s, verifier, key)
		return nil
	}
	return x.identity(claimpool.MethodSCRAM)
}

// saslInitial reads the SASLInitialResponse. A client may leave its first message out; then an empty challenge asks for it
// (RFC 4422, section 5, "initial response").
func (x *exchange) saslInitial(offered []string, limit int) (mech string, first []byte, err error) {
	body, err := x.receive(limit)
	if err != nil {
		return "", nil, err
	}
	mech, first, hasData, err := wire.ParseSASLInitial(body)
	if err != nil {
		return "", nil, err
	}
	if !slices.Contains(offered, mech) {
		return "", nil, &claimpool.Error{
			Code: claimpool.CodeProtocolViolation, Message: "client selected an invalid SASL authentication mechanism",
		}
	}
	if hasData {
		return mech, first, nil
	}
	if err := x.send(wire.AppendAuthSASLContinue(nil, nil)); err != nil {
		return "", nil, err
	}
	first, err = x.receive(limit)
	return mech, first, err
}

// broken keeps a message that is no SCRAM apart from a proof that fails: the first is PostgreSQL's 08P01 for everybody,
// known or not.
func broken(err error) error {
	if errors.Is(err, scram.ErrMalformed) {
		return &claimpool.Error{Code: claimpool.CodeProtocolViolation, Message: "malformed SCRAM message", Cause: err}
	}
	return err
}

// nonce makes our half of the nonce.
func (a *Authenticator) nonce() (string, error) {
	var b [nonceSize]byte
	if _, err := io.ReadFull(a.rand, b[:]); err != nil {
		return "", fmt.Errorf("make nonce: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b[:]), nil
}

// bindings are the channel bindings that can be checked on the client's connection; none without TLS, or when our
// certificate has no binding (Ed25519).
func (req *Request) bindings() map[string][]byte {
	if req.TLS == nil || req.Certificate == nil {
		return nil
	}
	data, err := scram.ServerEndPoint(req.Certificate)
	if err != nil {
		return nil
	}
	return map[string][]byte{scram.TLSServerEndPoint: data}
}
