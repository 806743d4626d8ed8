package admin

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/revocation"
)

// undo reads UNDO REVOCATION 7 REASON 'wrong Ada'.
func (p *parser) undo() (*statement, error) {
	if p.take("REVOCATION") == "" {
		return nil, syntax("UNDO needs a revocation", "As in UNDO REVOCATION 7; SHOW REVOCATIONS has the numbers.")
	}
	var number, reason value
	var err error
	if n := p.peek(); n != "" { // it may stand without quotes
		p.tokens = p.tokens[1:]
		number.text = n
	} else if number, err = p.value("REVOCATION"); err != nil {
		return nil, err
	}
	if p.take("REASON") != "" {
		if reason, err = p.value("REASON"); err != nil {
			return nil, err
		}
	}
	return &statement{
		name: "UNDO REVOCATION", tag: "UNDO", right: Steer, columns: columns("undone number"),
		run: func(ctx context.Context, s *session, args []string) (result, error) {
			id, wrong := revocationID(number.of(args))
			if wrong != nil {
				return result{}, cannotUndo(wrong)
			}
			r := result{said: strconv.FormatInt(id, 10)}
			if s.Revocations == nil {
				return r, errNotHere
			}
			err := s.Revocations.Undo(ctx, id, reason.of(args))
			switch {
			case refusedUndo(err):
				return r, cannotUndo(err)
			case err != nil:
				return r, errNoTable(err)
			}
			r.rows = [][]any{{id}}
			return r, nil
		},
	}, nil
}

func cannotUndo(why error) error {
	return &claimpool.Error{
		Code: claimpool.CodeInvalidParameterValue, Message: "cannot undo that", Detail: why.Error() + ".", Hint: "SHOW REVOCATIONS lists them.",
	}
}

// revocationID reads the number of a revocation.
func revocationID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, errors.New("a revocation has a number")
	}
	return id, nil
}

// refusedUndo reports whether an error is for the person who asked.
func refusedUndo(err error) bool {
	return errors.Is(err, revocation.ErrUnknown) || errors.Is(err, revocation.ErrUndone) || errors.Is(err, revocation.ErrByIssuer) || errors.Is(err, revocation.ErrLongReason)
}

// undo takes back what the path names. A reason may stand in the address.
func (e *endpoint) undo(w http.ResponseWriter, r *http.Request) {
	id, wrong := revocationID(r.PathValue("id"))
	if wrong != nil {
		fail(w, http.StatusBadRequest, wrong.Error())
		return
	}
	err := e.revocations.Undo(r.Context(), id, r.URL.Query().Get("reason"))
	switch {
	case err == nil:
		e.log.Info("a revocation was taken back", claimpool.LogAddr, r.RemoteAddr, claimpool.LogReason, strconv.FormatInt(id, 10)+" by an administrator")
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, revocation.ErrUnknown):
		fail(w, http.StatusNotFound, err.Error())
	case errors.Is(err, revocation.ErrLongReason):
		fail(w, http.StatusBadRequest, err.Error())
	case refusedUndo(err):
		fail(w, http.StatusConflict, err.Error())
	default:
		e.unavailable(w, r, err)
	}
}
