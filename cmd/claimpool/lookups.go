package main

import (
	"fmt"
	"reflect"
	"time"

	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/server"
)

// lookups are the connections that ask servers for clients' passwords, by database. before's are taken over where their database has
// not changed.
func lookups(cfg *config.Config, before *built) (map[string]*server.Lookup, error) {
	list := map[string]*server.Lookup{}
	for name, d := range cfg.Databases {
		if !d.Lookup.Enabled() {
			continue
		}
		if before != nil && before.lookups[name] != nil && reflect.DeepEqual(before.declared.Databases[name], d) {
			list[name] = before.lookups[name]
			continue
		}
		own := d
		own.Password, own.Passwords = d.Lookup.Password, nil
		if d.Lookup.DBName != "" {
			own.DBName = d.Lookup.DBName
		}
		way, err := serverConfig(name, own, d.Lookup.Role, groupOf(own))
		if err == nil {
			err = new(credentials).apply(way, d.Lookup.Password)
		}
		if err != nil {
			return nil, fmt.Errorf("databases.%s.lookup: %w", name, err)
		}
		list[name] = server.NewLookup(way, d.Lookup.Query)
	}
	return list, nil
}

// lookup is what rules ask for passwords.
func (b *built) lookup(cfg *config.Config, now func() time.Time) *auth.Lookup {
	sources := map[string]auth.Asked{}
	for name, l := range b.lookups {
		sources[name] = auth.Asked{Source: l, MaxAge: cfg.Databases[name].Lookup.MaxAge}
	}
	return auth.NewLookup(sources, now)
}

// passesThrough reports whether servers of any database are logged in to with what clients have proved.
func passesThrough(cfg *config.Config) bool {
	for _, d := range cfg.Databases {
		if d.Password.Client != "" {
			return true
		}
		for _, s := range d.Passwords {
			if s.Client != "" {
				return true
			}
		}
	}
	return false
}

// closeLookups closes the connections that next has not taken over; nil: all.
func (b *built) closeLookups(next *built) {
	for name, l := range b.lookups {
		if next == nil || next.lookups[name] != l {
			l.Close()
		}
	}
}
