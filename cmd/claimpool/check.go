package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/claimpool/claimpool/config"
)

type checkCommand struct {
	Config string `short:"c" required:"" placeholder:"FILE" help:"The configuration file."`
	Strict bool   `help:"Take warnings for errors."`
}

// Run makes a configuration ready as serve would, with the keys and users in its files, but talks to nobody.
func (c *checkCommand) Run(env *environment) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	warnings := cfg.Check()
	for _, w := range warnings {
		fmt.Fprintln(env.err, w)
	}
	b, err := build(cfg, env.now, nil)
	if err != nil {
		return usage("%s: %w", c.Config, err)
	}
	for _, s := range b.issuers.skipped() {
		fmt.Fprintln(env.err, s)
	}
	for _, p := range b.issuers.plans() {
		fmt.Fprintln(env.out, p)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Databases)) {
		db := cfg.Databases[name]
		if _, err := serverConfig(name, db, "anybody", groupOf(db)); err != nil {
			return usage("%s: databases.%s: %w", c.Config, name, err)
		}
		for _, target := range slices.Sorted(maps.Keys(db.Targets)) {
			at := db.At(db.Targets[target])
			if _, err := serverConfig(name, at, "anybody", groupOf(at)); err != nil {
				return usage("%s: databases.%s.targets.%s: %w", c.Config, name, target, err)
			}
		}
	}
	if c.Strict && len(warnings) > 0 {
		return usage("%d warnings", len(warnings))
	}
	fmt.Fprintf(env.out, "%s: ok (%d databases, %d rules, %d issuers)\n", c.Config, len(cfg.Databases), len(cfg.Rules), len(cfg.Issuers))
	return nil
}

// loadConfig reads a configuration file. Problems in it are the person's to mend: the exit status says so.
func loadConfig(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	var problems config.Problems
	if errors.As(err, &problems) {
		return nil, usage("the configuration cannot be used:\n%w", err)
	}
	if err != nil {
		return nil, statusError{err, statusUsage}
	}
	return cfg, nil
}

type explainCommand struct {
	Key string `arg:"" optional:"" help:"A setting: pool.size, queue_wait, rules[0].tls. Without it: all settings by name."`
}

// Run prints the manual of a setting.
func (c *explainCommand) Run(env *environment) error {
	if c.Key == "" {
		for _, e := range config.Manual() {
			fmt.Fprintln(env.out, e.Key)
		}
		return nil
	}
	text, err := config.Explain(c.Key)
	if err != nil {
		return statusError{err, statusUsage}
	}
	fmt.Fprint(env.out, text)
	return nil
}
