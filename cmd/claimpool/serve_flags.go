package main

import "github.com/claimpool/claimpool/config"

// serveCommand runs the proxy: from a configuration file, or for a first try from flags alone.
type serveCommand struct {
	Config   string `short:"c" placeholder:"FILE" help:"The configuration file. Without it, the flags below make one for a first try, or the environment of a jwt-postgresql-proxy does."`
	firstTry `group:"Without a configuration file:"`
}

// Run reads the configuration and serves.
func (c *serveCommand) Run(env *environment) error {
	cfg, err := c.configuration(env)
	if err != nil {
		return err
	}
	return serve(env, c.Config, cfg)
}

// configuration returns what to serve.
func (c *serveCommand) configuration(env *environment) (*config.Config, error) {
	switch {
	case c.Config != "" && c.firstTry.given():
		return nil, usage("with -c FILE everything stands in the file: leave the other flags out")
	case c.Config != "":
		return loadConfig(c.Config)
	case !c.firstTry.given() && inherited(env.environ()):
		return inheritedConfiguration(env.environ())
	case !c.firstTry.given():
		return nil, usage("nothing to serve: give a configuration file with -c FILE, or for a first try:\n" +
			"  claimpool serve --dsn postgres://app_user@127.0.0.1/app --jwks issuer.jwks.json --issuer https://id.example.com --audience postgres")
	}
	return c.firstTry.configuration(env)
}
