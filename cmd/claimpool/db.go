package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/database"
)

type dbCommands struct {
	Install dbInstallCommand   `cmd:"" help:"Install or upgrade the functions that verify and read claims."`
	Status  dbStatusCommand    `cmd:"" help:"Say what is installed, and what is unsafe."`
	Remove  dbRemoveCommand    `cmd:"" help:"Remove everything that install made."`
	Native  dbNativeKeyCommand `cmd:"" name:"native-key" help:"Make the proxy's key for databases with the claimpool extension."`
	Key     dbKeyCommands      `cmd:"" help:"Add and remove keys, to rotate them."`
}

// dbFlags are shared by the commands that talk to a database.
type dbFlags struct {
	DSN     string        `name:"dsn" env:"CLAIMPOOL_DSN" placeholder:"DSN" help:"The database, as for psql: postgres://user@host/db. What is missing comes from PGHOST, PGPASSWORD, ~/.pgpass and so on. Keep passwords out of it: others on this machine can see it."`
	Timeout time.Duration `default:"30s" help:"Give up after this time. Default: 30s."`
}

// with connects and does something.
func (f *dbFlags) with(env *environment, do func(context.Context, *pgx.Conn) error) error {
	cfg, err := pgx.ParseConfig(f.DSN)
	if err != nil {
		return usage("--dsn: %w", err)
	}
	ctx, cancel := context.WithTimeout(env.ctx, f.Timeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return do(ctx, conn)
}

// change carries a plan out, or prints it.
func change(env *environment, ctx context.Context, conn *pgx.Conn, plan *database.Plan, dryRun bool) (*database.Key, error) {
	if dryRun {
		fmt.Fprint(env.out, plan.String())
		return nil, nil
	}
	return plan.Run(ctx, conn)
}

type dbInstallCommand struct {
	dbFlags
	Schema   string   `default:"public" help:"The schema for jwt(). Everything else goes into the schema claimpool. Default: public."`
	KeyID    string   `name:"key-id" default:"k1" help:"The name of the first key. Default: k1."`
	KeyFile  string   `default:"claimpool.key" placeholder:"FILE" help:"Where the new key goes, for context.key_file of the proxy. Default: claimpool.key."`
	With     []string `placeholder:"PACK" help:"Also a pack: functions with the names that policies written for another system call (supabase, neon, postgrest), sessions in a table (vault), signed tickets (ticket), the look-up of stored passwords (lookup), the table of revocations that proxies share (revocation), or the table of audit records (audit)."`
	Unlogged bool     `help:"Keep the sessions of a new pack vault in an unlogged table: faster, and gone after a crash."`
	DryRun   bool     `help:"Print what would be run, and change nothing."`
}

// Run installs or upgrades.
func (c *dbInstallCommand) Run(env *environment) error {
	return c.with(env, func(ctx context.Context, conn *pgx.Conn) error {
		plan, err := database.PlanInstall(ctx, conn, database.Options{API: c.Schema, KeyID: c.KeyID, With: c.With, Unlogged: c.Unlogged})
		if err != nil {
			return err
		}
		if plan.MakesKey() {
			err = runWithKeyFile(env, ctx, conn, plan, c.KeyFile, c.DryRun)
		} else if !plan.Empty() {
			_, err = change(env, ctx, conn, plan, c.DryRun)
		}
		if err != nil || c.DryRun && !plan.Empty() {
			return err
		}
		s, err := database.Status(ctx, conn)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("Version %d", s.Version)
		if s.Extension != "" {
			what = "Version " + s.Extension + " of the extension"
		}
		if len(s.Packs) > 0 {
			what += ", with " + strings.Join(s.Packs, ", ") + ","
		}
		if plan.Empty() {
			fmt.Fprintf(env.out, "%s is installed already; nothing to do.\n", what)
			return nil
		}
		fmt.Fprintf(env.out, "%s is installed.\n", what)
		return nil
	})
}

// runWithKeyFile carries out a plan that may make a key. The file is made first: a key exists only once outside the
// database, and must not be lost to a full disk or a wrong folder.
func runWithKeyFile(env *environment, ctx context.Context, conn *pgx.Conn, plan *database.Plan, path string, dryRun bool) error {
	if dryRun {
		_, err := change(env, ctx, conn, plan, true)
		return err
	}
	if err := writeNew(path, nil, 0o600, "If it holds a key that is still in use, name another file with --key-file; else remove it."); err != nil {
		return err
	}
	key, err := change(env, ctx, conn, plan, false)
	if err != nil || key == nil {
		return errors.Join(err, os.Remove(path))
	}
	text := key.File()
	defer text.Clear()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf(`%w; the key %q is lost: remove it with "claimpool db key remove", and add another`, err, key.ID)
	}
	fmt.Fprintf(env.out, "The key %q is in %s. For the proxy:\n  context: {dialect: sql, key_file: %s}\n", key.ID, path, path)
	return nil
}

type dbStatusCommand struct {
	dbFlags
	Role []string `help:"A role that the proxy's server connections use: also say what it could do wrong. May be repeated."`
}

// Run prints what a database has.
func (c *dbStatusCommand) Run(env *environment) error {
	return c.with(env, func(ctx context.Context, conn *pgx.Conn) error {
		s, err := database.Status(ctx, conn, c.Role...)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.out, "database   %s\nserver     PostgreSQL %s\n", s.Database, s.Server)
		switch {
		case s.Extension != "":
			fmt.Fprintf(env.out, "installed  the extension, version %s\n", s.Extension)
		case s.Version == 0:
			fmt.Fprintln(env.out, "installed  nothing")
			return errNo
		default:
			fmt.Fprintf(env.out, "installed  version %d\n", s.Version)
		}
		fmt.Fprintf(env.out, "jwt()      in schema %s\n", s.API)
		if s.Extension == "" && s.Version < database.Version {
			fmt.Fprintf(env.out, "           version %d is newer; run: claimpool db install\n", database.Version)
		}
		if len(s.Packs) > 0 {
			fmt.Fprintf(env.out, "packs      %s\n", strings.Join(s.Packs, ", "))
		}
		for _, k := range s.Keys {
			fmt.Fprintf(env.out, "key        %s, since %s\n", k.ID, k.Created.UTC().Format(time.RFC3339))
		}
		for _, p := range s.Problems {
			fmt.Fprintf(env.out, "problem    %s\n", p)
		}
		if len(s.Problems) > 0 {
			return errNo
		}
		return nil
	})
}

type dbRemoveCommand struct {
	dbFlags
	DryRun bool `help:"Print what would be run, and change nothing."`
}

// Run removes everything.
func (c *dbRemoveCommand) Run(env *environment) error {
	return c.with(env, func(ctx context.Context, conn *pgx.Conn) error {
		before, err := database.Status(ctx, conn)
		if err != nil {
			return err
		}
		plan, err := database.PlanRemove(ctx, conn)
		if err != nil {
			return err
		}
		if plan.Empty() {
			fmt.Fprintln(env.out, "Nothing is installed; nothing to do.")
			return nil
		}
		if _, err := change(env, ctx, conn, plan, c.DryRun); err != nil || c.DryRun {
			return err
		}
		if before.Extension != "" {
			fmt.Fprintln(env.out, "Removed the packs. The extension stays.")
			return nil
		}
		fmt.Fprintln(env.out, "Removed. The key file of the proxy is worth nothing any more: delete it.")
		return nil
	})
}
