package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/admin"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/token"
)

// endpoint is what listens for HTTP.
type endpoint struct {
	key     string // of the setting
	address string
	tls     config.TLS
	handler http.Handler
}

// endpoints opens what the configuration asks for, and serves until the service ends.
func (s *service) endpoints(cfg *config.Config) error {
	var list []endpoint
	s.health = admin.HealthHandler(&admin.Health{Alive: s.proxy.Alive, Ready: s.ready})
	if cfg.Admin.Listen != "" {
		h, err := s.administrators(cfg.Admin)
		if err != nil {
			return err
		}
		list = append(list, endpoint{"admin", cfg.Admin.Listen, cfg.Admin.TLS, h})
	}
	if cfg.Admin.HealthListen != "" {
		list = append(list, endpoint{"health", cfg.Admin.HealthListen, config.TLS{}, s.health})
	}
	if cfg.Logout.Listen != "" {
		list = append(list, endpoint{"logout", cfg.Logout.Listen, cfg.Logout.TLS, admin.LogoutHandler(s.verifyLogout, s.now.revoked.table, s.audit.auditor(), s.log)})
	}
	for _, e := range list {
		if err := s.open(e); err != nil {
			return fmt.Errorf("listen for %s: %w", e.key, err)
		}
	}
	return nil
}

// adminToken reads a token of the endpoint once: a request of a stranger must not run a command.
func (s *service) adminToken(declared config.Secret) (claimpool.Secret, error) {
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	secret, err := passwordOf(declared)(ctx)
	if err == nil && len(secret) < admin.MinToken {
		err = fmt.Errorf("it is shorter than %d characters", admin.MinToken)
	}
	return secret, err
}

// open serves one endpoint. Its certificate is looked at for changes like those of the listeners.
func (s *service) open(e endpoint) error {
	loaded, err := loadCertificate(e.tls)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", e.address)
	if err != nil {
		return err
	}
	if loaded != nil {
		c := &certificate{address: e.key + ".listen"}
		c.current.Store(loaded)
		s.certs = append(s.certs, c)
		l = tls.NewListener(l, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			own := c.config().Clone()
			own.NextProtos = []string{"http/1.1"}
			return own, nil
		}})
	}
	server := admin.NewServer(e.handler, s.log)
	s.log.Info("listening for "+e.key, claimpool.LogAddr, l.Addr().String())
	context.AfterFunc(s.ctx, func() { server.Close() })
	s.wg.Go(func() {
		if err := admin.Serve(server, l); err != nil {
			s.log.Error("stopped listening", claimpool.LogAddr, l.Addr().String(), claimpool.LogErr, err.Error())
		}
	})
	return nil
}

// verifyLogout judges a logout token by the issuers as they are configured now.
func (s *service) verifyLogout(raw []byte) (*admin.Logout, error) {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	l, err := token.VerifyLogout(raw, func(issuer string) (*token.Verifier, token.LogoutRules) {
		for name, is := range now.declared.Issuers {
			if is.Issuer == issuer && len(is.Logout.Audience) > 0 {
				return now.issuers.verifiers[name], token.LogoutRules{Audience: is.Logout.Audience, Types: is.Logout.Types}
			}
		}
		return nil, token.LogoutRules{}
	})
	if err != nil {
		return nil, err
	}
	return &admin.Logout{Issuer: l.Issuer, Subject: l.Subject, Session: l.Session, ID: l.ID, Issued: l.Issued}, nil
}
