package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/claimpool/claimpool/revocation"
)

// revokeCommands write to the table of revocations and read it. They need no proxy: all proxies that follow the table see it.
type revokeCommands struct {
	Subject revokeSubjectCommand `cmd:"" help:"Sign a person out: end the sessions, refuse all tokens that were issued up to now."`
	Session revokeSessionCommand `cmd:"" help:"Revoke the tokens of one session at the issuer, by their sid."`
	Token   revokeTokenCommand   `cmd:"" help:"Revoke one token, by its jti."`
	Issuer  revokeIssuerCommand  `cmd:"" help:"Revoke everything that an issuer has issued up to now."`
	Undo    revokeUndoCommand    `cmd:"" help:"Take back a revocation that was made by mistake. Logouts that came from an issuer stay."`
	List    revokeListCommand    `cmd:"" help:"Print who is signed out."`
}

// revokeFlags are shared by the commands that revoke.
type revokeFlags struct {
	dbFlags
	Reason string `placeholder:"TEXT" help:"Why, for people who read the list."`
}

// revocationTable gives the table at a DSN.
func revocationTable(dsn string) (*revocation.Table, error) {
	connect, err := revocation.Connector("revocation", dsn, nil)
	if err != nil {
		return nil, usage("--dsn: %w", err)
	}
	return &revocation.Table{Connect: connect}, nil
}

// write revokes.
func (f *revokeFlags) write(env *environment, r revocation.Request) error {
	r.Reason = f.Reason
	e, err := r.Entry()
	if err != nil {
		return statusError{err, statusUsage}
	}
	table, err := revocationTable(f.DSN)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(env.ctx, f.Timeout)
	defer cancel()
	if err := table.Revoke(ctx, []revocation.Entry{e}, nil); err != nil {
		return err
	}
	fmt.Fprintln(env.out, "Revoked. Sessions end within a second, wherever a proxy follows this table.")
	return nil
}

type revokeSubjectCommand struct {
	revokeFlags
	Subject string    `arg:"" help:"The subject: the claim sub, or the name of a user with a password."`
	Issuer  string    `placeholder:"ISS" help:"The issuer of the person's tokens. Without it: a user with a password."`
	Before  time.Time `placeholder:"TIME" help:"Revoke what was issued up to this time (2026-11-21T12:00:00Z) in place of now; one to come keeps the person out until then."`
}

// Run signs a person out.
func (c *revokeSubjectCommand) Run(env *environment) error {
	return c.write(env, revocation.Request{Issuer: c.Issuer, Subject: c.Subject, Before: c.Before})
}

type revokeSessionCommand struct {
	revokeFlags
	Session string `arg:"" name:"sid" help:"The claim sid."`
	Issuer  string `required:"" placeholder:"ISS" help:"The issuer of the tokens."`
}

// Run revokes a session.
func (c *revokeSessionCommand) Run(env *environment) error {
	return c.write(env, revocation.Request{Issuer: c.Issuer, Session: c.Session})
}

type revokeTokenCommand struct {
	revokeFlags
	Token  string `arg:"" optional:"" name:"jti" help:"The claim jti."`
	Issuer string `placeholder:"ISS" help:"The issuer of the token."`
	Hash   string `placeholder:"HEX" help:"In place of jti and issuer: the token's hash, as the audit stream shows it."`
}

// Run revokes a token.
func (c *revokeTokenCommand) Run(env *environment) error {
	return c.write(env, revocation.Request{Issuer: c.Issuer, Token: c.Token, Hash: c.Hash})
}

type revokeIssuerCommand struct {
	revokeFlags
	Issuer string    `arg:"" help:"The issuer."`
	Before time.Time `placeholder:"TIME" help:"Revoke what was issued up to this time (2026-11-21T12:00:00Z) in place of now."`
}

// Run revokes everything of an issuer.
func (c *revokeIssuerCommand) Run(env *environment) error {
	return c.write(env, revocation.Request{Issuer: c.Issuer, All: true, Before: c.Before})
}

type revokeUndoCommand struct {
	revokeFlags
	ID int64 `arg:"" help:"Its number, as \"claimpool revoke list\" shows it."`
}

// Run takes a revocation back.
func (c *revokeUndoCommand) Run(env *environment) error {
	table, err := revocationTable(c.DSN)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(env.ctx, c.Timeout)
	defer cancel()
	if err := table.Undo(ctx, c.ID, c.Reason); err != nil {
		return err
	}
	fmt.Fprintln(env.out, "Taken back. New logins are good again within a second, wherever a proxy follows this table.")
	return nil
}

type revokeListCommand struct {
	dbFlags
}

// Run prints the table.
func (c *revokeListCommand) Run(env *environment) error {
	table, err := revocationTable(c.DSN)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(env.ctx, c.Timeout)
	defer cancel()
	list, err := table.List(ctx)
	if err != nil {
		return err
	}
	for _, e := range list {
		what := e.Subject
		switch {
		case !e.Before.IsZero():
			what += " issued up to " + e.Before.UTC().Format(time.RFC3339)
		case what == "":
			what = hex.EncodeToString(e.Mark[:])
		}
		after := ""
		if e.UndoneBy != 0 {
			after = fmt.Sprintf(" (taken back by %d)", e.UndoneBy)
		}
		fmt.Fprintf(env.out, "%d  %s  %s %q by %s: %q of %q%s\n", e.ID, e.Made.UTC().Format(time.RFC3339), e.Kind, what, e.By, e.Reason, e.Issuer, after)
	}
	return nil
}
