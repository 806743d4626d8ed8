package main

import (
	"fmt"

	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/config"
)

// userMaps are the maps of names, by their names.
func userMaps(cfg *config.Config) (map[string]*auth.UserMap, error) {
	list := map[string]*auth.UserMap{}
	for i, line := range cfg.UserMaps {
		m := list[line.Map]
		if m == nil {
			m = new(auth.UserMap)
			list[line.Map] = m
		}
		if err := m.Add(line.From, line.To); err != nil {
			return nil, fmt.Errorf("user_maps[%d]: %w", i, err)
		}
	}
	return list, nil
}

// nameClients says how a rule names those who prove themselves by a certificate, or by their user on this machine. A map that is not
// there lets nobody in.
func nameClients(rule *auth.Rule, r config.Rule, maps map[string]*auth.UserMap) {
	if r.CertName != "cn" {
		rule.CertName = auth.CertName(r.CertName)
	}
	if r.ClientCert != "none" {
		rule.ClientCert = auth.ClientCert(r.ClientCert)
	}
	rule.CertClaims = r.CertClaims == "names"
	if r.UserMap != "" {
		if rule.Map = maps[r.UserMap]; rule.Map == nil {
			rule.Map = new(auth.UserMap)
		}
	}
}

// known are the names of databases that have a meaning of their own.
func known(cfg *config.Config) map[string]bool {
	names := map[string]bool{cfg.Console.Database: true}
	for name := range cfg.Databases {
		names[name] = true
	}
	return names
}
