//go:build linux

package main

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/claimpool/claimpool/cluster"
)

// extensionDir is the extension's source, from where bench/run.sh runs.
const extensionDir = "database/extension"

// newHandoverStage starts two clusters, one for each dialect, with pgbench's tables, and the proxies in front of them.
func newHandoverStage(ctx context.Context, s *settings) (*stage, error) {
	b := &stage{s: s}
	if err := b.openHandover(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *stage) openHandover(ctx context.Context) (err error) {
	if err := b.prepare(); err != nil {
		return err
	}
	installed, err := installation(b.s.postgres)
	if err != nil {
		return err
	}
	library, err := b.buildExtension(ctx, installed)
	if err != nil {
		return err
	}
	public, err := b.nativeKey()
	if err != nil {
		return err
	}
	options := cluster.Options{Installation: installed, HBA: "host all all 127.0.0.0/8 trust\nlocal all all trust\n"}
	if b.real, err = cluster.Start(ctx, options); err != nil {
		return err
	}
	options.Settings = map[string]string{"shared_preload_libraries": library, "claimpool.proxy_keys": "k1:" + public}
	if b.native, err = cluster.Start(ctx, options); err != nil {
		return err
	}
	b.server, b.about = b.real.Address(), "PostgreSQL "+b.real.Installation.Version
	if err := b.fillDatabases(ctx, library); err != nil {
		return fmt.Errorf("set up database: %w", err)
	}
	reset := *b.s
	reset.extra = append(reset.extra, "server_reset_query_always = 1")
	b.targets = append(b.targets, b.pgbouncer("pgbouncer", b.s), b.pgbouncer("pgbouncer-reset", &reset), b.claimpool(b.s, b.s.builds[0]))
	for _, g := range b.targets {
		if err := g.restart(ctx); err != nil {
			return err
		}
	}
	return nil
}

// installation finds PostgreSQL's programs of a major version, also where scripts/setup.sh puts them, or the system's newest.
func installation(major int) (cluster.Installation, error) {
	found := cluster.Find()
	if major != 0 {
		fetched, err := filepath.Abs(".cache/postgresql") // the programs run elsewhere
		if err != nil {
			return cluster.Installation{}, err
		}
		found = cluster.Find(filepath.Join(fetched, "*", "bin"))
		found = slices.DeleteFunc(found, func(i cluster.Installation) bool { return i.Major != major })
	}
	if len(found) == 0 {
		return cluster.Installation{}, fmt.Errorf("no PostgreSQL server found: sh scripts/setup.sh test")
	}
	return found[0], nil
}

// headers is the folder of an installation's headers: of those that scripts/setup.sh has fetched, or its own.
func headers(ctx context.Context, inst cluster.Installation) (string, error) {
	fetched, err := filepath.Abs(fmt.Sprintf(".cache/headers/%d", inst.Major))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(fetched); err == nil {
		return fetched, nil
	}
	own, err := output(exec.CommandContext(ctx, filepath.Join(inst.BinDir, "pg_config"), "--includedir-server"))
	if err != nil {
		return "", fmt.Errorf("find the headers of %s: %w: install its development package", inst, err)
	}
	return strings.TrimSpace(string(own)), nil
}

// buildExtension compiles the extension for an installation that has its headers beside it.
func (b *stage) buildExtension(ctx context.Context, inst cluster.Installation) (string, error) {
	include, err := headers(ctx, inst)
	if err != nil {
		return "", err
	}
	library := filepath.Join(b.dir, "claimpool.so")
	_, err = output(exec.CommandContext(ctx, filepath.Join(extensionDir, "test", "build.sh"), include, library))
	if err != nil {
		return "", fmt.Errorf("build the extension: %w", err)
	}
	return library, nil
}

// nativeKey gives the proxy a private key, and returns the public half for PostgreSQL.
func (b *stage) nativeKey() (string, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	_, err = put(b.dir, "native.key", []byte("x25519:k1:"+b64(private.Bytes())+"\n"), 0o600)
	return b64(private.PublicKey().Bytes()), err
}

// fillDatabases makes the databases: plain and with the SQL dialect in one cluster, with the native one and its gate in the other.
func (b *stage) fillDatabases(ctx context.Context, library string) error {
	script, err := os.ReadFile(filepath.Join(extensionDir, "claimpool--1.0.sql"))
	if err != nil {
		return err
	}
	_, objects, _ := strings.Cut(string(script), "\n") // \echo is psql's
	file, err := put(b.dir, "extension.sql", []byte(strings.ReplaceAll(objects, "MODULE_PATHNAME", library)), 0o644)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		cluster  *cluster.Cluster
		database string
		then     []string
	}{
		{b.real, "identity", nil},
		{b.native, "native", []string{"-f", file, "-c", "alter role bench in database native set claimpool.gate = on"}},
	} {
		admin := []string{"-U", cluster.Superuser, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d"}
		for _, command := range [][]string{
			append([]string{"psql"}, append(admin, "postgres", "-c", "create role bench login", "-c", "create database bench owner bench")...),
			{"pgbench", "-U", "bench", "-i", "-q", "-s", "1", "bench"},
			append([]string{"psql"}, append(admin, "postgres", "-c", "create database "+c.database+" template bench")...),
			append([]string{"psql"}, append(append(admin, c.database, "-c", "analyze pgbench_accounts"), c.then...)...),
		} {
			if _, err := b.psqlAt(ctx, c.cluster, command[0], command[1:]...); err != nil {
				return err
			}
		}
	}
	return b.installContext(ctx)
}
