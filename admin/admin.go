// Package admin shows and steers what runs, by HTTP: an endpoint for administrators and their programs, and one for issuers that tell of
// logouts. It does not know how anything works inside: what it asks for are interfaces of its own.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
)

// The limits keep strangers from taking memory or time.
const (
	maxBody        = 128 << 10 // a logout token may be as long as any token, and is written as a form
	maxHeader      = 16 << 10
	maxConnections = 64
	maxRequest     = 10 * time.Second
	maxAnswer      = time.Minute
	maxQuiet       = time.Minute
)

// MinToken is the least length of the token for administrators.
const MinToken = 32

// NewServer makes an HTTP server with the limits, for Serve.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: plain(http.MaxBytesHandler(h, maxBody)), MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: maxRequest, ReadTimeout: maxRequest, WriteTimeout: maxAnswer, IdleTimeout: maxQuiet,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Serve serves until the server is closed. Of more connections than the limit some end that have proved nothing (see limited): whoever
// holds many keeps neither administrators out nor issuers, nor an orchestrator, which would restart the proxy.
func Serve(s *http.Server, l net.Listener) error {
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, placeKey{}, c) }
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if p, ok := c.(*place); ok && state == http.StateIdle { // its request has been answered
			p.prove(false)
		}
	}
	err := s.Serve(newLimited(l, maxConnections))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// plain sets what every answer has: nothing here is for browsers or caches, and no other site may ask (there is no CORS).
func plain(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		h.ServeHTTP(w, r)
	})
}

// guarded lets only those in who bring one of the tokens (RFC 6750, section 2.1). Their connections keep their places.
func guarded(tokens []claimpool.Secret, audit claimpool.Auditor, log *slog.Logger, h http.Handler) http.Handler {
	want := make([][sha256.Size]byte, len(tokens))
	for i, token := range tokens {
		want[i] = sha256.Sum256(token)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(given)) // of equal lengths, whatever is given
		good := 0
		for i, token := range tokens {
			if len(token) >= MinToken {
				good |= subtle.ConstantTimeCompare(got[:], want[i][:])
			}
		}
		if !strings.EqualFold(scheme, "Bearer") || good != 1 {
			log.Warn("request of an administrator refused", claimpool.LogAddr, r.RemoteAddr, claimpool.LogReason, "no token, or a wrong one")
			record(audit, claimpool.EventRefusal, r, "no token, or a wrong one") // of a stranger: see audit.Stream.Record
			w.Header().Set("WWW-Authenticate", "Bearer")
			fail(w, http.StatusUnauthorized, "a token is needed")
			return
		}
		proved(r)
		h.ServeHTTP(w, r)
	})
}

// recorded keeps what is asked for in the audit stream.
func recorded(audit claimpool.Auditor, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := record(audit, claimpool.EventCommand, r, ""); err != nil {
			fail(w, http.StatusServiceUnavailable, "the request cannot be recorded at the moment")
			return
		}
		h.ServeHTTP(w, r)
	})
}

func record(audit claimpool.Auditor, kind claimpool.EventKind, r *http.Request, why string) error {
	if audit == nil {
		return nil
	}
	what := r.Method + " " + r.URL.Path
	if len(what) > maxShown {
		what = what[:maxShown]
	}
	if why != "" {
		what += ": " + why
	}
	return audit.Record(&claimpool.Event{Kind: kind, Addr: r.RemoteAddr, Reason: what})
}

// maxShown bounds what a stranger can put into the audit stream.
const maxShown = 100

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // the client may have left
}

func fail(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]string{"error": text})
}
