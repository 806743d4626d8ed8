package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/judge"
)

// jitAPIs are the APIs for just-in-time access, by database.
type jitAPIs map[string]*jitAPI

type jitAPI struct {
	*judge.JIT
	declared config.JIT
	roots    []byte // as read
}

// loadJIT makes the clients of all APIs. Those of before that have not changed are taken over, with their connections.
func loadJIT(cfg *config.Config, now func() time.Time, before *built) (jitAPIs, error) {
	apis := jitAPIs{}
	for name, db := range cfg.Databases {
		if db.JIT.APIURL == "" {
			continue
		}
		roots, pool, err := readPool(db.JIT.CAFile)
		if err != nil {
			return nil, fmt.Errorf("databases.%s.jit.ca_file: %w", name, err)
		}
		if before != nil {
			if old := before.jit[name]; old != nil && old.declared == db.JIT && bytes.Equal(old.roots, roots) {
				apis[name] = old
				continue
			}
		}
		api, err := judge.NewJIT(db.JIT.APIURL, db.JIT.Timeout, pool, now)
		if err != nil {
			return nil, fmt.Errorf("databases.%s.jit: %w", name, err)
		}
		apis[name] = &jitAPI{JIT: api, declared: db.JIT, roots: roots}
	}
	return apis, nil
}

// byDatabase gives what the rules need of the APIs.
func (apis jitAPIs) byDatabase() map[string]*auth.JIT {
	all := map[string]*auth.JIT{}
	for name, api := range apis {
		all[name] = &auth.JIT{Ask: api.ask, Lifetime: api.declared.Lifetime, HandOn: api.declared.HandOn == "cleartext"}
	}
	return all
}

func (api *jitAPI) ask(ctx context.Context, token claimpool.Secret, role, address string) (*auth.Grant, bool, error) {
	g, err := api.Ask(ctx, token, role, address)
	if err != nil {
		return nil, errors.Is(err, judge.ErrDenied), err
	}
	return &auth.Grant{Issuer: api.Place(), Subject: g.Subject, Claims: g.Claims, Fingerprint: g.Print, Expires: g.Expires}, false, nil
}
