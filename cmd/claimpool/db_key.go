package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/database"
)

type dbKeyCommands struct {
	Add    dbKeyAddCommand    `cmd:"" help:"Add a key. Give it to all proxies, then remove the old one."`
	Remove dbKeyRemoveCommand `cmd:"" help:"Remove a key: what it sealed is refused from then on."`
}

type dbKeyAddCommand struct {
	dbFlags
	ID      string `arg:"" name:"id" help:"The name of the new key, as in k2."`
	KeyFile string `required:"" placeholder:"FILE" help:"Where the new key goes."`
	DryRun  bool   `help:"Print what would be run, and change nothing."`
}

// Run adds a key.
func (c *dbKeyAddCommand) Run(env *environment) error {
	return c.with(env, func(ctx context.Context, conn *pgx.Conn) error {
		plan, err := database.PlanAddKey(ctx, conn, c.ID)
		if err != nil {
			return err
		}
		return runWithKeyFile(env, ctx, conn, plan, c.KeyFile, c.DryRun)
	})
}

type dbKeyRemoveCommand struct {
	dbFlags
	ID     string `arg:"" name:"id" help:"The name of the key."`
	DryRun bool   `help:"Print what would be run, and change nothing."`
}

// Run removes a key.
func (c *dbKeyRemoveCommand) Run(env *environment) error {
	return c.with(env, func(ctx context.Context, conn *pgx.Conn) error {
		plan, err := database.PlanRemoveKey(ctx, conn, c.ID)
		if err != nil {
			return err
		}
		if _, err := change(env, ctx, conn, plan, c.DryRun); err != nil || c.DryRun {
			return err
		}
		fmt.Fprintf(env.out, "The key %q is removed.\n", c.ID)
		return nil
	})
}
