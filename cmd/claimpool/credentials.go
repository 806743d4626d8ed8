package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/credential"
	"github.com/claimpool/claimpool/server"
)

// credentials are the credentials of one database's servers that services keep, by the place where they are: the ways to the servers
// of one database are made often, and are to share what was fetched.
type credentials struct {
	mu     sync.Mutex
	caches map[string]*credential.Cache // under mu
	aws    map[string]*credential.AWS   // under mu
}

// apply makes a way to a server get its password from a service, if the secret is there.
func (c *credentials) apply(way *server.Config, s config.Secret) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.Cloud.From == "aws":
		a := c.awsOf(s.Cloud.Region)
		role := way.Role
		way.Login = func(ctx context.Context, host string) (string, claimpool.Secret, error) {
			token, err := a.Token(ctx, host, role)
			return "", token, err
		}
		way.Refused = a.Forget
	case s.Vault.Path != "" || s.Cloud.From != "":
		cache, err := c.cacheOf(s)
		if err != nil {
			return err
		}
		way.Login = func(ctx context.Context, _ string) (string, claimpool.Secret, error) {
			got, err := cache.Get(ctx)
			return got.User, got.Password, err
		}
		way.Refused = cache.Forget
	}
	return nil
}

func (c *credentials) awsOf(region string) *credential.AWS {
	if c.aws == nil {
		c.aws = map[string]*credential.AWS{}
	}
	if c.aws[region] == nil {
		c.aws[region] = &credential.AWS{Region: region}
	}
	return c.aws[region]
}

func (c *credentials) cacheOf(s config.Secret) (*credential.Cache, error) {
	key := fmt.Sprintf("%q %q", s.Vault, s.Cloud)
	if c.caches == nil {
		c.caches = map[string]*credential.Cache{}
	}
	if c.caches[key] == nil {
		source, err := sourceOf(s)
		if err != nil {
			return nil, err
		}
		c.caches[key] = credential.NewCache(source, nil)
	}
	return c.caches[key], nil
}

func sourceOf(s config.Secret) (credential.Source, error) {
	switch s.Cloud.From {
	case "google":
		return credential.Google{Account: s.Cloud.Account}.Source(), nil
	case "azure":
		return credential.Azure{ClientID: s.Cloud.Account}.Source()
	}
	v := s.Vault
	return credential.Vault{
		Address: v.Address, Path: v.Path, Field: v.FieldOrDefault(), UserField: v.UserField, Namespace: v.Namespace,
		TokenFile: v.TokenFile, TokenEnv: v.TokenEnvOrDefault(), CAFile: v.CAFile,
		AppRole: credential.AppRole{RoleID: v.RoleID, SecretIDFile: v.SecretIDFile, Mount: v.AppRolePath},
	}.Source()
}
