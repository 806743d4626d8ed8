package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/credential"
	"github.com/claimpool/claimpool/judge"
)

// judgeOf is who judges the passwords of a rule.
func judgeOf(r config.Rule) (auth.Check, error) {
	ask := (&judge.PAM{Socket: r.PAMSocket}).Check
	if r.Method == "ldap" {
		d := r.LDAP
		l := &judge.LDAP{
			URLs: d.URLs, Template: d.Template, Base: d.Base, Filter: d.Filter, BindDN: d.BindDN, Timeout: d.Timeout, Password: secretForStrangers(d.BindPassword),
		}
		if d.CAFile != "" {
			text, err := os.ReadFile(d.CAFile)
			if err != nil {
				return nil, fmt.Errorf("ldap.ca_file: %w", err)
			}
			if l.Roots = x509.NewCertPool(); !l.Roots.AppendCertsFromPEM(text) {
				return nil, fmt.Errorf("ldap.ca_file: %s holds no certificate", d.CAFile)
			}
		}
		ask = l.Check
	}
	return func(ctx context.Context, user string, password claimpool.Secret, _ string) (string, bool, error) {
		return ask(ctx, user, password)
	}, nil
}

// keptOutput is how long what a program has printed counts, where strangers can make us need it.
const keptOutput = time.Second

// secretForStrangers is passwordOf for a secret that each login needs, before anything is proved: however many there are, a program is run
// once at a time, and not again within keptOutput.
func secretForStrangers(s config.Secret) func(context.Context) (claimpool.Secret, error) {
	run := passwordOf(s)
	if len(s.Command) == 0 {
		return run
	}
	cache := credential.NewCache(func(ctx context.Context) (c credential.Credential, err error) {
		c.Password, err = run(ctx)
		c.Expires = time.Now().Add(keptOutput)
		return c, err
	}, nil)
	return func(ctx context.Context) (claimpool.Secret, error) {
		c, err := cache.Get(ctx)
		return c.Password, err
	}
}
