package startup_test

import (
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/startup"
	"github.com/claimpool/claimpool/wire"
)

// TestDriver logs in with pgx in each of its ways to begin.
func TestDriver(t *testing.T) {
	s := newSecrets(t)
	tests := []struct {
		dsn string
		tls bool
	}{
		{"sslmode=disable", false},
		{"sslmode=prefer", true},
		{"sslmode=require", true},
		{"sslmode=require sslnegotiation=direct", true},
		{"sslmode=require max_protocol_version=3.2", true},
		{"sslmode=disable max_protocol_version=latest", false},
	}
	for _, tt := range tests {
		t.Run(tt.dsn, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			done := make(chan *startup.Hello, 1)
			go func() { done <- welcome(l, &startup.Options{TLS: s.server}) }()

			port := l.Addr().(*net.TCPAddr).Port
			cfg, err := pgconn.ParseConfig("host=127.0.0.1 user=ann database=d password=x " + tt.dsn)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Port = uint16(port)
			for _, f := range cfg.Fallbacks {
				f.Port = uint16(port)
			}
			conn, err := pgconn.ConnectConfig(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			h := <-done
			if h == nil || h.Startup.Get("user") != "ann" || h.Startup.Get("database") != "d" || (h.TLS != nil) != tt.tls {
				t.Errorf("got %+v", h)
			}
		})
	}
}

// welcome lets in the first one who comes, and waits until he leaves.
func welcome(l net.Listener, opts *startup.Options) *startup.Hello {
	c, err := l.Accept()
	if err != nil {
		return nil
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	h, err := startup.Read(c, opts)
	if err != nil {
		return nil
	}
	b := wire.AppendAuthOK(h.AppendNegotiation(nil))
	b = wire.AppendBackendKeyData(b, 1, []byte("abcd"))
	if _, err := h.Conn.Write(wire.AppendReadyForQuery(b, wire.StatusIdle)); err != nil {
		return nil
	}
	if typ, _, err := wire.ReadMessage(h.Conn, 0); err != nil || typ != wire.MsgTerminate {
		return nil
	}
	return h
}
