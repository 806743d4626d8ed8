package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// Target is where a cancel request for one server connection goes, and the key that it needs.
type Target struct {
	PID    uint32
	Secret claimpool.Secret // nil when the server gave none: then nothing can be cancelled

	cfg     *Config
	address address
	tls     bool
}

// newTarget remembers which machine really answered: behind a name with several addresses another one would not know
// the process.
func newTarget(cfg *Config, a address, conn net.Conn) Target {
	if !a.unix() {
		a.dial = conn.RemoteAddr().String()
	}
	_, isTLS := conn.(*tls.Conn)
	return Target{cfg: cfg, address: a, tls: isTLS}
}

// Cancel asks the server to stop what the connection is doing (protocol-flow, "Canceling Requests in Progress"). It
// returns nil when the server has dealt with the request: only then may the connection serve somebody else, whom a late
// cancel would hit. Any error means that this is not sure.
func (t *Target) Cancel(ctx context.Context) error {
	if t.Secret == nil {
		return errors.New("cancel: the server gave no cancel key")
	}
	ctx, stopTimer := context.WithTimeout(ctx, t.cfg.timeout())
	defer stopTimer()
	conn, stop, err := t.cfg.dial(ctx, t.address)
	if err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	defer conn.Close()
	defer stop()
	if _, isTLS := conn.(*tls.Conn); t.tls && !isTLS {
		// Mode prefer: the key came over TLS, and whoever now denies TLS may be after it.
		return errors.New("cancel: the server no longer offers TLS")
	}
	if _, err := conn.Write(wire.AppendCancelRequest(nil, t.PID, t.Secret)); err != nil {
		return fmt.Errorf("cancel: %w", because(ctx, err))
	}
	// The server sends no answer; it closes the connection once the signal is on its way.
	switch _, err := io.ReadFull(conn, make([]byte, 1)); err {
	case io.EOF:
		return nil
	case nil:
		return errors.New("cancel: the server answered a cancel request")
	default:
		return fmt.Errorf("cancel: %w", because(ctx, err))
	}
}
