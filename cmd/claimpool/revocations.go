package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/revocation"
)

// revocations are who has been signed out, with the table that says so. They stay the same over reloads.
type revocations struct {
	set   *revocation.Set
	table *revocation.Table
}

// newRevocations makes what the configuration names; nil when it names nothing.
func newRevocations(cfg config.Revocation, now func() time.Time) (*revocations, error) {
	if !cfg.On() {
		return nil, nil
	}
	var password func(context.Context) (claimpool.Secret, error)
	if !cfg.Password.Empty() {
		password = passwordOf(cfg.Password)
	}
	connect, err := revocation.Connector("revocation", cfg.DSN, password)
	if err != nil {
		return nil, fmt.Errorf("revocation.dsn: %w", err)
	}
	return &revocations{
		table: &revocation.Table{Connect: connect},
		set:   revocation.New(revocation.Options{Keep: cfg.Keep, StaleAfter: cfg.StaleAfter, Lax: cfg.WhenStale == "serve", Clock: now}),
	}, nil
}

// firstLook is how long a start waits for the table. Whoever comes before it is refused, or let in, as when_stale says.
const firstLook = 5 * time.Second

// follow keeps the set up to date until ctx ends, and waits a little for the first look. changed is called when somebody new
// has been signed out.
func (r *revocations) follow(ctx context.Context, wg *sync.WaitGroup, poll time.Duration, changed func(), learned func([]revocation.Entry), log *slog.Logger) {
	looked := make(chan struct{})
	f := revocation.Follower{Table: r.table, Set: r.set, Poll: poll, Changed: changed, Learned: learned, Report: func(err error) {
		if err != nil {
			log.Error("the revocations cannot be read: logins are refused when that lasts, unless revocation.when_stale is serve", claimpool.LogErr, err.Error())
			return
		}
		log.Info("the revocations are read", claimpool.LogReason, fmt.Sprintf("%d are known", r.set.Len()))
		select {
		case <-looked:
		default:
			close(looked)
		}
	}}
	wg.Go(func() { f.Run(ctx) })
	select {
	case <-looked:
	case <-time.After(firstLook):
	case <-ctx.Done():
	}
}
