package admin

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/revocation"
)

// revocable are the words of REVOKE: what is revoked comes first, and ISSUER alone is everything of an issuer.
var revocable = []string{"JTI", "HASH", "SID", "SUB", "ISSUER"}

// revoke reads REVOKE: REVOKE SUB 'ada' ISSUER 'https://…' BEFORE '…' REASON '…'. It is a revocation.Request in other words, with its checks.
func (p *parser) revoke() (*statement, error) {
	given := map[string]value{}
	what := p.take(revocable...)
	if what == "" {
		return nil, syntax("REVOKE needs to know what", "As in REVOKE SUB 'ada' ISSUER 'https://id.example.com'. There are JTI, HASH, SID, SUB and ISSUER.")
	}
	for clause := what; clause != ""; clause = p.take("ISSUER", "BEFORE", "REASON") {
		if _, twice := given[clause]; twice {
			return nil, syntax(clause+" is there twice", "Once is enough.")
		}
		v, err := p.value(clause)
		if err != nil {
			return nil, err
		}
		given[clause] = v
	}
	return &statement{
		name: "REVOKE " + what, tag: "REVOKE", right: Steer, columns: columns("kind", "hash"),
		run: func(ctx context.Context, s *session, args []string) (result, error) {
			req := revocation.Request{All: what == "ISSUER"}
			for clause, field := range map[string]*string{
				"JTI": &req.Token, "HASH": &req.Hash, "SID": &req.Session, "SUB": &req.Subject, "ISSUER": &req.Issuer, "REASON": &req.Reason,
			} {
				if v, ok := given[clause]; ok {
					if *field = v.of(args); *field == "" {
						return result{}, invalid(clause + " is empty")
					}
				}
			}
			if v, ok := given["BEFORE"]; ok {
				before, err := time.Parse(time.RFC3339, v.of(args))
				if err != nil {
					return result{}, invalid("BEFORE needs a time such as 2026-11-21T12:00:00Z")
				}
				req.Before = before
			}
			return s.revoke(ctx, &req)
		},
	}, nil
}

func invalid(what string) error {
	return &claimpool.Error{Code: claimpool.CodeInvalidParameterValue, Message: "cannot revoke that", Detail: what + "."}
}

// revoke goes the way of the endpoint.
func (s *session) revoke(ctx context.Context, req *revocation.Request) (result, error) {
	if s.Revocations == nil {
		return result{}, errNotHere
	}
	entry, wrong, err := revoke(ctx, s.Revocations, req)
	if wrong != nil {
		return result{}, invalid(wrong.Error())
	}
	a := result{said: fmt.Sprintf("(%s %s)", entry.Kind, hex.EncodeToString(entry.Mark[:]))}
	if err != nil {
		return a, errNoTable(err)
	}
	a.rows = [][]any{{string(entry.Kind), hex.EncodeToString(entry.Mark[:])}}
	return a, nil
}

func errNoTable(err error) error {
	return &claimpool.Error{
		Code: claimpool.CodeCannotConnectNow, Message: "the table of revocations cannot be used at the moment", Hint: "Try again later; the log says why.", Cause: err,
	}
}
