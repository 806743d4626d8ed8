package server

import (
	"bytes"
	"context"
	"errors"

	"github.com/claimpool/claimpool"
)

// noCredential is the failure to get what to log in with: no host is to blame.
type noCredential struct{ cause error }

func (n *noCredential) Error() string { return "get password: " + n.cause.Error() }
func (n *noCredential) Unwrap() error { return n.cause }

// login gives the configuration with what Login says for one host. forget wipes it.
func (cfg *Config) login(ctx context.Context, host string) (own *Config, forget func(), err error) {
	if cfg.Login == nil {
		return cfg, func() {}, nil
	}
	user, password, err := cfg.Login(ctx, host)
	if err != nil {
		return nil, nil, &noCredential{err}
	}
	with := *cfg
	if user != "" {
		with.Role = user
	}
	with.Password = func(context.Context) (claimpool.Secret, error) { return bytes.Clone(password), nil }
	return &with, password.Clear, nil
}

// another reports whether a server has refused what Login gave, and there may be something else to try.
func (cfg *Config) another(err error) bool {
	var r *refusal
	return cfg.Refused != nil && errors.As(err, &r) && r.own.Code[:2] == "28" && cfg.Refused()
}
