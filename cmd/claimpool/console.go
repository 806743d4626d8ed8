package main

import (
	"context"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/admin"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/proxy"
)

// steering is who may use the console, as it is configured at a moment.
type steering struct {
	rights map[steerer]admin.Right
	idle   time.Duration
}

// steerer is somebody who may use the console: by a token of an issuer, or without one.
type steerer struct {
	token           bool
	issuer, subject string
}

func newSteering(cfg *config.Config) *steering {
	st := &steering{rights: map[steerer]admin.Right{}, idle: cfg.Limits.IdleTimeout}
	give := func(users []config.ConsoleUser, right admin.Right) {
		for _, u := range users {
			who := steerer{subject: u.Subject}
			if u.Issuer != "" {
				who.token, who.issuer = true, cfg.Issuers[u.Issuer].Issuer
				if who.issuer == "-" { // tokens without "iss"
					who.issuer = ""
				}
			}
			st.rights[who] = right
		}
	}
	give(cfg.Console.Readers, admin.Read)
	give(cfg.Console.Admins, admin.Steer) // whoever is both may do both
	return st
}

// of says what somebody may do. A proof by something else than the one that is configured counts for nothing, be the name the same.
func (st *steering) of(id *claimpool.Identity) admin.Right {
	switch id.Method {
	case claimpool.MethodJWT, claimpool.MethodOAuth:
		return st.rights[steerer{true, id.Issuer, id.Subject}]
	case claimpool.MethodSCRAM, claimpool.MethodMD5, claimpool.MethodCert, claimpool.MethodPeer, claimpool.MethodLDAP, claimpool.MethodPAM:
		if id.Issuer == "" && id.Proof.Login {
			return st.rights[steerer{subject: id.Subject}]
		}
	}
	return admin.Nothing
}

// build makes a configuration ready, with the console.
func (s *service) build(cfg *config.Config, before *built) (*built, error) {
	b, err := build(cfg, s.env.now, before)
	if err != nil || cfg.Console.Database == "" {
		return b, err
	}
	st := newSteering(cfg)
	b.proxy.Console = &proxy.Console{
		Database: cfg.Console.Database, Version: serverVersion(),
		Admits: func(id *claimpool.Identity) bool { return st.of(id) >= admin.Read },
		Serve:  s.serveConsole,
	}
	return b, nil
}

// serverVersion is what drivers read as a version: it begins with a number.
func serverVersion() string {
	if strings.IndexAny(version, "0123456789") != 0 {
		return "0.0/claimpool"
	}
	return version + "/claimpool"
}

// serveConsole talks to a client of the console.
func (s *service) serveConsole(ctx context.Context, g proxy.ConsoleGuest) string {
	c := admin.Console{
		Rights:  func(id *claimpool.Identity) admin.Right { return s.steering.Load().of(id) },
		Idle:    func() time.Duration { return s.steering.Load().idle },
		Version: version, Pools: shownPools{s.proxy}, Running: s, Roster: roster{s.proxy}, Settings: s, Meter: s, Audit: s.audit.auditor(), Log: s.log,
	}
	if r := s.revocations; r != nil {
		c.Revocations = r.table
	}
	return c.Serve(ctx, admin.Guest(g))
}

// Reload is part of admin.Running.
func (s *service) Reload(by string) error {
	s.log.Info("reloading", claimpool.LogReason, "asked for in the console by "+by)
	return s.reloadAll()
}
