package main

import (
	"errors"

	"github.com/claimpool/claimpool/config"
)

// serve runs the proxy until it is told to end. path is the configuration file, to be read again on SIGHUP; empty when
// the configuration was made from flags.
func serve(env *environment, path string, cfg *config.Config) error {
	return errors.New("serve is not there yet")
}
