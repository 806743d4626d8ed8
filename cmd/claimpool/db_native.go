package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/claimpool/claimpool/trusted"
)

type dbNativeKeyCommand struct {
	ID      string `arg:"" name:"id" default:"k1" help:"The name of the key."`
	KeyFile string `default:"claimpool.key" placeholder:"FILE" help:"Where the private key goes, for context.key_file of the proxy. Default: claimpool.key."`
}

// Run makes an X25519 key: the private half for the proxy, the public half for postgresql.conf. The database has no secret.
func (c *dbNativeKeyCommand) Run(env *environment) error {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	text := []byte("x25519:" + c.ID + ":" + base64.RawURLEncoding.EncodeToString(private.Bytes()) + "\n")
	defer clear(text)
	key, err := trusted.ParseNativeKey(text)
	if err != nil {
		return usage("key name %q: 1 to 64 letters, digits, dots, _ and - are allowed", c.ID)
	}
	if err := writeNew(c.KeyFile, text, 0o600, "If it holds a key that is still in use, name another file with --key-file; else remove it."); err != nil {
		return err
	}
	fmt.Fprintf(env.out, "The private key %q is in %s. For the proxy:\n  context: {dialect: native, key_file: %s}\n", c.ID, c.KeyFile, c.KeyFile)
	fmt.Fprintf(env.out, "For postgresql.conf, beside the keys that are in use:\n  claimpool.proxy_keys = '%s'\n", key.Setting())
	return nil
}
