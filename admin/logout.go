package admin

import (
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/revocation"
)

// LogoutPath is where issuers send their logout tokens.
const LogoutPath = "/backchannel-logout"

// Logout is what a logout token says, once it is verified.
type Logout struct {
	Issuer, Subject, Session, ID string
	Issued                       time.Time
}

// LogoutHandler takes logout tokens (OpenID Connect Back-Channel Logout 1.0, sections 2.5 to 2.8). verify judges a token; its errors
// are for the log and the audit stream alone. What an issuer asks for is done whether it can be recorded or not. audit may be nil.
func LogoutHandler(verify func(raw []byte) (*Logout, error), revocations Revocations, audit claimpool.Auditor, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+LogoutPath, func(w http.ResponseWriter, r *http.Request) {
		l, err := takeLogout(r, verify, revocations)
		if err != nil {
			log.Warn("logout token refused", claimpool.LogAddr, r.RemoteAddr, claimpool.LogReason, err.Error())
			record(audit, claimpool.EventRefusal, r, err.Error())
			answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": "the logout token was not taken"})
			return
		}
		log.Info("signed out by the issuer", claimpool.LogAddr, r.RemoteAddr, claimpool.LogIssuer, l.Issuer, claimpool.LogIdentity, l.Subject)
		record(audit, claimpool.EventCommand, r, "signed out by the issuer "+l.Issuer)
		w.WriteHeader(http.StatusOK)
	})
	return mux
}

func takeLogout(r *http.Request, verify func([]byte) (*Logout, error), revocations Revocations) (*Logout, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, errors.New("the body is no form")
	}
	if err := r.ParseForm(); err != nil {
		return nil, errors.New("the form cannot be read")
	}
	given := r.PostForm["logout_token"]
	if len(given) != 1 || given[0] == "" {
		return nil, errors.New("the form has not one logout_token")
	}
	l, err := verify([]byte(given[0]))
	if err != nil {
		return nil, err
	}
	proved(r)
	once := revocation.LogoutMark(l.Issuer, l.ID)
	if err := revocations.Revoke(r.Context(), revocation.Logout(l.Issuer, l.Subject, l.Session, l.Issued), &once); err != nil {
		return nil, err
	}
	return l, nil
}
