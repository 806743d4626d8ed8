//go:build linux

package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"text/template"
)

// The configurations say the same thing to both proxies.
var (
	//go:embed pgbouncer.ini
	pgbouncerINI string
	//go:embed claimpool.yaml
	claimpoolYAML string
)

// pgbouncerHBA chooses the method by the user, as the rules of claimpool.yaml do. Tokens mean nothing to PgBouncer: in
// those trials it shows what the same work costs without an identity.
const pgbouncerHBA = `host all scram 0.0.0.0/0 scram-sha-256
host all all 0.0.0.0/0 trust
`

// target is one thing to connect to.
type target struct {
	name    string
	addr    string
	version string
	pid     int // 0: no proxy, nothing to read the cost of
	process *process
	start   func(ctx context.Context, port int) (*process, error)
}

// restart gives the target a fresh process.
func (g *target) restart(ctx context.Context) error {
	if g.start == nil {
		return nil
	}
	g.process.stop()
	port, err := freePort()
	if err != nil {
		return err
	}
	if g.process, err = g.start(ctx, port); err != nil {
		return err
	}
	g.addr, g.pid = net.JoinHostPort("127.0.0.1", fmt.Sprint(port)), g.process.pid()
	if err := g.process.await(ctx, g.addr); err != nil {
		return fmt.Errorf("start %s: %w", g.name, err)
	}
	return nil
}

func (b *stage) pgbouncer(name string, s *settings) *target {
	g := &target{name: name, version: firstLine(s.pgbouncer, "--version")}
	g.start = func(_ context.Context, port int) (*process, error) {
		if _, err := put(b.dir, "pgbouncer.hba", []byte(pgbouncerHBA), 0o644); err != nil {
			return nil, err
		}
		file, err := b.configure(name+".ini", pgbouncerINI, port, s.extra)
		if err != nil {
			return nil, err
		}
		return start(b.dir, name, s.proxyCore, s.pgbouncer, file)
	}
	return g
}

func (b *stage) claimpool(s *settings, u build) *target {
	g := &target{name: u.name, version: firstLine(u.path, "version")}
	g.start = func(_ context.Context, port int) (*process, error) {
		program, err := install(b.dir, u.name, u.path)
		if err != nil {
			return nil, err
		}
		file, err := b.configure(u.name+".yaml", claimpoolYAML, port, nil)
		if err != nil {
			return nil, err
		}
		return start(b.dir, u.name, s.proxyCore, program, "serve", "-c", file)
	}
	return g
}

// configure fills in a configuration and writes it to the stage's folder.
func (b *stage) configure(name, text string, port int, extra []string) (string, error) {
	t, err := template.New(name).Parse(text)
	if err != nil {
		return "", err
	}
	host, server, err := net.SplitHostPort(b.server)
	if err != nil {
		return "", err
	}
	native := ""
	if b.native != nil {
		native = b.native.Address()
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Dir": b.dir, "Port": port, "ServerHost": host, "ServerPort": server, "Pool": b.s.pool, "Extra": extra,
		"Native": native, "Issuer": tokenIssuer, "Audience": tokenAudience,
	})
	if err != nil {
		return "", err
	}
	return put(b.dir, filepath.Base(name), out.Bytes(), 0o644)
}

// wanted reports whether the flags name a target.
func (s *settings) wanted(name string) bool {
	return strings.Contains(","+strings.Join(s.targets, ",")+",", ","+name+",")
}
