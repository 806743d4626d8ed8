package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/mapping"
	"github.com/claimpool/claimpool/token"
)

// issuers are the configured issuers with their keys, by their names in the configuration.
type issuers struct {
	verifiers map[string]*token.Verifier
	files     map[string]*keyset.Files // of those whose keys are in files
	remotes   map[string]*remote       // of those whose keys are fetched
	judges    map[string]*introspected // of those who are asked
	openers   *keyset.Openers          // of encrypted tokens; nil when there are none
	known     *token.Signatures        // of all; it stays the same over reloads
}

// maxSignatures is how many tokens are remembered whose signatures were good, so that logging in again costs little: about 1 MB.
const maxSignatures = 8192

// loadIssuers reads the keys of all issuers that are in files. before are those of now, or nil: keys that are fetched from the
// same place are taken over.
func loadIssuers(cfg *config.Config, now func() time.Time, before *issuers) (*issuers, error) {
	is := &issuers{verifiers: map[string]*token.Verifier{}, files: map[string]*keyset.Files{}, remotes: map[string]*remote{},
		judges: map[string]*introspected{}}
	var err error
	if is.openers, err = loadOpeners(cfg.DecryptionKeys); err != nil {
		return nil, fmt.Errorf("decryption_keys: %w", err)
	}
	if before != nil {
		is.known = before.known
	} else {
		is.known = token.NewSignatures(maxSignatures)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Issuers)) {
		declared := cfg.Issuers[name]
		rules, err := tokenRules(declared)
		if err != nil {
			return nil, fmt.Errorf("issuers.%s: %w", name, err)
		}
		v := &token.Verifier{Rules: rules, Clock: now, Known: is.known}
		if declared.Introspection.URL != "" {
			v.Introspector, err = is.judge(name, declared, now, before)
		} else {
			v.Keys, err = is.source(name, declared, before)
		}
		if err != nil {
			return nil, err
		}
		if err := v.Rules.Check(); err != nil {
			return nil, fmt.Errorf("issuers.%s: %w", name, err)
		}
		is.verifiers[name] = v
	}
	return is, nil
}

// source gives where the keys of an issuer come from.
func (is *issuers) source(name string, declared config.Issuer, before *issuers) (token.KeySource, error) {
	if declared.Discovery == "" && declared.JWKSURL == "" {
		files, err := keyset.Load(keySpecs(declared.Keys))
		if err != nil {
			return nil, fmt.Errorf("issuers.%s.keys: %w", name, err)
		}
		is.files[name] = files
		return files, nil
	}
	r, err := newRemote(declared)
	if err != nil {
		return nil, fmt.Errorf("issuers.%s: %w", name, err)
	}
	if before != nil && before.remotes[name].same(r) {
		r = before.remotes[name]
	}
	is.remotes[name] = r
	return r, nil
}

// set returns the issuers of a rule; without names, all of them.
func (is *issuers) set(names ...string) (*token.Set, error) {
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(is.verifiers))
	}
	return is.setBy(token.NewSet, names)
}

// inspected returns all issuers, of whichever rules, to look at a token with.
func (is *issuers) inspected() (*token.Set, error) {
	return is.setBy(token.NewInspectionSet, slices.Sorted(maps.Keys(is.verifiers)))
}

func (is *issuers) setBy(make func(...*token.Verifier) (*token.Set, error), names []string) (*token.Set, error) {
	var list []*token.Verifier
	for _, name := range names {
		v, ok := is.verifiers[name]
		if !ok {
			return nil, fmt.Errorf("there is no issuer %q", name)
		}
		list = append(list, v)
	}
	set, err := make(list...)
	if err == nil && is.openers != nil {
		set.Openers = is.openers
	}
	return set, err
}

// skipped says which keys are in the files but not used, and why.
func (is *issuers) skipped() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(is.files)) {
		for _, s := range is.files[name].Skipped() {
			list = append(list, fmt.Sprintf("warning: issuers.%s.keys: %s: key %q is left out: %s", name, s.File, s.KID, s.Reason))
		}
	}
	return list
}

func keySpecs(files []config.KeyFile) []keyset.Spec {
	specs := make([]keyset.Spec, len(files))
	for i, f := range files {
		specs[i] = keyset.Spec{File: f.File, Algorithms: f.Algorithms, KID: f.KID}
		if f.Env != "" {
			specs[i].File, specs[i].Text = "$"+f.Env, []byte(os.Getenv(f.Env))
		}
	}
	return specs
}

func tokenRules(is config.Issuer) (token.Rules, error) {
	expressions, err := mapping.Compile(is.Expressions())
	issuer := is.Issuer
	if issuer == "-" {
		issuer = ""
	}
	return token.Rules{
		Issuer: issuer, Audience: is.Audience, Types: is.Types,
		Leeway: is.Leeway, MaxLifetime: is.MaxLifetime,
		RequiredClaims: is.RequiredClaims, SubjectClaim: is.SubjectClaim,
		Role:    token.RoleRule{From: token.RoleFrom(is.Role.From), Claim: is.Role.Claim, Value: is.Role.Value, Allow: is.Role.Allow},
		Mapping: expressions,
	}, err
}
