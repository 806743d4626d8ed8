package admin

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/http"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/revocation"
)

// Revocations is where revocations are kept. *revocation.Table is one.
type Revocations interface {
	Revoke(ctx context.Context, entries []revocation.Entry, once *claimpool.Mark) error
	Undo(ctx context.Context, id int64, reason string) error
	List(ctx context.Context) ([]revocation.Entry, error)
}

// Handler is the endpoint for administrators: GET /pools says what the pools do, GET /revocations lists, POST /revocations revokes what its
// body, a revocation.Request, says, and DELETE /revocations/ID takes one back. Every request, refused or not, is recorded; what cannot be recorded is not done. revocations, pools and
// audit may be nil.
func Handler(token claimpool.Secret, revocations Revocations, pools Pools, audit claimpool.Auditor, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	if pools != nil {
		mux.HandleFunc("GET /pools", showPools(pools, log))
	}
	if revocations != nil {
		e := &endpoint{revocations, log}
		mux.HandleFunc("GET /revocations", e.list)
		mux.HandleFunc("POST /revocations", e.revoke)
		mux.HandleFunc("DELETE /revocations/{id}", e.undo)
	}
	return guarded([]claimpool.Secret{token}, audit, log, recorded(audit, mux))
}

type endpoint struct {
	revocations Revocations
	log         *slog.Logger
}

// shown is a revocation as it is listed.
type shown struct {
	ID      int64     `json:"id"`
	Kind    string    `json:"kind"`
	Hash    string    `json:"hash"`
	Issuer  string    `json:"issuer"`
	Subject string    `json:"sub,omitempty"`
	Before  time.Time `json:"before,omitzero"`
	Made    time.Time `json:"made"`
	By      string    `json:"by"`
	Reason  string    `json:"reason"`

	ByIssuer bool  `json:"by_issuer,omitempty"`
	UndoneBy int64 `json:"undone_by,omitempty"`
}

func (e *endpoint) list(w http.ResponseWriter, r *http.Request) {
	entries, err := e.revocations.List(r.Context())
	if err != nil {
		e.unavailable(w, r, err)
		return
	}
	list := make([]shown, 0, len(entries))
	for _, x := range entries {
		list = append(list, shown{x.ID, string(x.Kind), hex.EncodeToString(x.Mark[:]), x.Issuer, x.Subject, x.Before, x.Made, x.By, x.Reason, x.ByIssuer, x.UndoneBy})
	}
	answer(w, http.StatusOK, list)
}

func (e *endpoint) revoke(w http.ResponseWriter, r *http.Request) {
	var req revocation.Request
	if err := readJSON(r, &req); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	entry, wrong, err := revoke(r.Context(), e.revocations, &req)
	if wrong != nil {
		fail(w, http.StatusBadRequest, wrong.Error())
		return
	}
	if err != nil {
		e.unavailable(w, r, err)
		return
	}
	e.log.Info("revoked", claimpool.LogAddr, r.RemoteAddr, claimpool.LogIssuer, entry.Issuer, claimpool.LogIdentity, entry.Subject,
		claimpool.LogReason, string(entry.Kind)+" by an administrator")
	answer(w, http.StatusCreated, map[string]string{"kind": string(entry.Kind), "hash": hex.EncodeToString(entry.Mark[:])})
}

// revoke is what the endpoint and the console do. wrong is for the person who asked; err is for the log.
func revoke(ctx context.Context, revocations Revocations, req *revocation.Request) (entry revocation.Entry, wrong, err error) {
	if entry, wrong = req.Entry(); wrong != nil {
		return entry, wrong, nil
	}
	return entry, nil, revocations.Revoke(ctx, []revocation.Entry{entry}, nil)
}

// unavailable tells the log why.
func (e *endpoint) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	e.log.Error("the table of revocations cannot be used", claimpool.LogAddr, r.RemoteAddr, claimpool.LogErr, err.Error())
	fail(w, http.StatusServiceUnavailable, "the table of revocations cannot be used at the moment")
}
