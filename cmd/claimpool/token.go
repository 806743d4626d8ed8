package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/token"
)

type tokenCommands struct {
	Keygen  keygenCommand  `cmd:"" help:"Make a key that signs tokens."`
	Sign    signCommand    `cmd:"" help:"Sign a token, for trials and tests."`
	Inspect inspectCommand `cmd:"" help:"Say what is in a token, and why it would be refused."`
	JWKS    jwksCommand    `cmd:"" name:"jwks" help:"Print the public halves of keys as a JWKS."`
}

type keygenCommand struct {
	Alg   string `default:"EdDSA" help:"The algorithm that it is for: EdDSA, ES256, RS256, HS256 …"`
	Out   string `default:"issuer" placeholder:"NAME" help:"Writes NAME.key (private), NAME.pem (public) and NAME.jwks.json. Default: issuer."`
	Force bool   `help:"Replace files that are there."`
}

// Run makes a key and writes its halves into files of their own.
func (c *keygenCommand) Run(env *environment) error {
	pair, err := keyset.Generate(c.Alg)
	if err != nil {
		return statusError{err, statusUsage}
	}
	defer clear(pair.Private)
	if err := c.write(".key", pair.Private, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(env.out, "kid          %s\nprivate key  %s.key (only for whoever signs tokens)\n", pair.KID, c.Out)
	if pair.Public == nil {
		fmt.Fprintf(env.out, "\nIt is a secret, and the proxy needs it too:\n  keys: {file: %s.key, algorithms: %s, kid: %s}\n", c.Out, c.Alg, pair.KID)
		return nil
	}
	jwks, err := keyset.PublicJWKS([]token.Key{pair.Signer.Key()})
	if err != nil {
		return err
	}
	if err := c.write(".pem", pair.Public, 0o644); err != nil {
		return err
	}
	if err := c.write(".jwks.json", append(jwks, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(env.out, "public key   %s.pem\nkey set      %s.jwks.json (for the proxy: keys: %s.jwks.json)\n", c.Out, c.Out, c.Out)
	return nil
}

func (c *keygenCommand) write(suffix string, data []byte, mode fs.FileMode) error {
	if c.Force {
		os.Remove(c.Out + suffix) // a new file, so that the mode is ours
	}
	return writeNew(c.Out+suffix, data, mode, "Name other files with --out, or replace them with --force.")
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, data []byte, mode fs.FileMode, advice string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return usage("%s is there already. %s", path, advice)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

type jwksCommand struct {
	Files []string `arg:"" name:"file" help:"Keys: PEM public or private keys, certificates, JWK, JWKS."`
}

// Run prints the public halves of keys as one JWKS.
func (c *jwksCommand) Run(env *environment) error {
	var keys []token.Key
	for _, file := range c.Files {
		more, err := publicKeys(file)
		if err != nil {
			return err
		}
		keys = append(keys, more...)
	}
	set, err := keyset.PublicJWKS(keys)
	if err != nil {
		return err
	}
	fmt.Fprintln(env.out, strings.TrimSpace(string(set)))
	return nil
}

// publicKeys reads the keys of a file, public or private.
func publicKeys(file string) ([]token.Key, error) {
	files, err := keyset.Load([]keyset.Spec{{File: file}})
	if err == nil {
		return files.All(), nil
	}
	if signer, e := keyset.LoadSigner(file, "", ""); e == nil {
		return []token.Key{signer.Key()}, nil
	}
	return nil, err
}
