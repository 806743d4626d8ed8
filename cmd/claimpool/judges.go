package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/judge"
)

// judgeOf is who judges the passwords of a rule.
func judgeOf(r config.Rule) (auth.Check, error) {
	ask := (&judge.PAM{Socket: r.PAMSocket}).Check
	if r.Method == "ldap" {
		d := r.LDAP
		l := &judge.LDAP{
			URLs: d.URLs, Template: d.Template, Base: d.Base, Filter: d.Filter, BindDN: d.BindDN, Timeout: d.Timeout, Password: passwordOf(d.BindPassword),
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
