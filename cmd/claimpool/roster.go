package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/claimpool/claimpool/admin"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/proxy"
)

// roster shows a proxy's clients and servers to administrators.
type roster struct{ proxy *proxy.Proxy }

// Clients is part of admin.Roster.
func (r roster) Clients(ctx context.Context, most int) (list []admin.Client, more bool, err error) {
	states, more, err := r.proxy.Roster(ctx, most)
	for _, st := range states {
		list = append(list, admin.Client(st))
	}
	return list, more, err
}

// Servers is part of admin.Roster.
func (r roster) Servers(ctx context.Context) (list []admin.Server, err error) {
	states, err := r.proxy.Servers(ctx)
	for _, st := range states {
		list = append(list, admin.Server(st))
	}
	return list, err
}

// Kill is part of admin.Roster.
func (r roster) Kill(ctx context.Context, number uint64, database, role string) (int, error) {
	return r.proxy.Kill(ctx, number, database, role)
}

// Pause is part of admin.Roster.
func (r roster) Pause(ctx context.Context, database string, on bool) (busy int, known bool, err error) {
	return r.proxy.Pause(ctx, database, on)
}

// declared is the configuration in force.
func (s *service) declared() *config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.declared
}

// Databases is part of admin.Settings.
func (s *service) Databases() (list []admin.Database) {
	cfg := s.declared()
	for _, name := range slices.Sorted(maps.Keys(cfg.Databases)) {
		d := cfg.Databases[name]
		list = append(list, admin.Database{
			Name: name, Hosts: strings.Join(d.Hosts, ", "), DBName: d.DBName, Role: d.Role, Mode: d.Pool.Mode, Context: d.Context.Dialect, Session: d.TargetSessionAttrs,
			Size: d.Pool.Size, Reserve: d.Pool.ReserveSize, Paused: s.proxy.IsPaused(name),
		})
	}
	return list
}

// Settings is part of admin.Settings.
func (s *service) Settings() (list []admin.Setting) {
	for _, v := range s.declared().Values() {
		list = append(list, admin.Setting(v))
	}
	return list
}
