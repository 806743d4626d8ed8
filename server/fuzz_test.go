package server

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/scram"
	"github.com/claimpool/claimpool/wire"
)

// tape is a connection on which the server has said everything already.
type tape struct {
	net.Conn
	from bytes.Reader
	sent int
}

func (t *tape) Read(b []byte) (int, error)    { return t.from.Read(b) }
func (t *tape) Write(b []byte) (int, error)   { t.sent += len(b); return len(b), nil }
func (t *tape) SetDeadline(_ time.Time) error { return nil }
func (t *tape) Close() error                  { return nil }

// zeros makes nonces of zero bytes, so that a seed can hold a whole exchange.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// honest is what an honest server says to somebody who uses zeros.
func honest(f *testing.F) []byte {
	v, err := scram.NewVerifier([]byte("secret"), []byte("salt"), scram.DefaultIterations)
	if err != nil {
		f.Fatal(err)
	}
	p, _ := scram.NewProver(scram.Credential{Password: []byte("secret")}, "AAAAAAAAAAAAAAAAAAAAAAAA", scram.Mechanism, nil)
	a, _ := scram.NewAsker(v, "server", scram.Mechanism, nil)
	first, _ := p.First()
	serverFirst, _ := a.First(first)
	final, _ := p.Final(serverFirst)
	serverFinal, err := a.Final(final)
	if err != nil {
		f.Fatal(err)
	}
	b := wire.AppendAuthSASL(nil, scram.Mechanism)
	b = wire.AppendAuthSASLContinue(b, serverFirst)
	b = wire.AppendAuthSASLFinal(b, serverFinal)
	b = wire.AppendAuthOK(b)
	b = wire.AppendParameterStatus(b, "server_version", "18.1")
	b = wire.AppendBackendKeyData(b, 42, []byte("abcd"))
	return wire.AppendReadyForQuery(b, 'I')
}

// FuzzLogin feeds a login with anything that a server may say. It must end without a panic, and with a connection only
// when the server has gone the whole way.
func FuzzLogin(f *testing.F) {
	whole := honest(f)
	f.Add(whole)
	f.Add(wire.AppendReadyForQuery(wire.AppendAuthOK(nil), 'I'))
	f.Add(wire.AppendAuthMD5(nil, [4]byte{1, 2, 3, 4}))
	f.Add(wire.AppendError(nil, "FATAL", &claimpool.Error{Code: "53300", Message: "sorry"}))
	f.Add(wire.AppendNegotiateProtocolVersion(nil, wire.Version30, []string{"_pq_.x"}))
	f.Fuzz(func(t *testing.T, said []byte) {
		cfg := &Config{
			Hosts: []string{"localhost"}, Database: "d", Role: "r", Version: wire.Version32, Rand: zeros{},
			Password: func(context.Context) (claimpool.Secret, error) { return claimpool.Secret("secret"), nil },
			Methods:  []Method{MethodSCRAM},
		}
		conn := &tape{from: *bytes.NewReader(said)}
		l := login{cfg: cfg, address: address{network: "tcp", host: "db"}, conn: conn, left: maxLogin}
		l.result.Version = cfg.version()
		err := l.run(t.Context())
		if bytes.Equal(said, whole) && err != nil {
			t.Errorf("the honest server was refused: %v", err)
		}
		if err == nil && !bytes.Contains(said, []byte("v=")) {
			t.Error("logged in without the server's signature")
		}
		if r := (*refusal)(nil); errors.As(err, &r) && len(r.own.Code) != 5 {
			t.Errorf("code %q", r.own.Code)
		}
	})
}
