package main

import (
	"bytes"
	"fmt"
	"reflect"
	"time"

	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/judge"
	"github.com/claimpool/claimpool/keyset"
	"github.com/claimpool/claimpool/token"
)

// introspected is an issuer that is asked about its tokens.
type introspected struct {
	*judge.Introspection
	declared config.Introspection
	roots    []byte // as read
}

// judge makes the client of an issuer that is asked. One of before that has not changed is taken over, with what it has kept.
func (is *issuers) judge(name string, declared config.Issuer, now func() time.Time, before *issuers) (token.Introspector, error) {
	in := declared.Introspection
	roots, pool, err := readPool(in.CAFile)
	if err != nil {
		return nil, fmt.Errorf("issuers.%s.introspection.ca_file: %w", name, err)
	}
	if before != nil {
		if old := before.judges[name]; old != nil && reflect.DeepEqual(old.declared, in) && bytes.Equal(old.roots, roots) {
			is.judges[name] = old
			return old, nil
		}
	}
	j, err := judge.NewIntrospection(judge.IntrospectionSpec{
		URL: in.URL, ClientID: in.ClientID, Secret: secretForStrangers(in.ClientSecret), Timeout: in.Timeout, Keep: in.Cache, Lifetime: in.Lifetime,
		Roots: pool, Clock: now,
	})
	if err != nil {
		return nil, fmt.Errorf("issuers.%s.introspection: %w", name, err)
	}
	is.judges[name] = &introspected{j, in, roots}
	return is.judges[name], nil
}

// loadOpeners reads the keys that open encrypted tokens; nil when there are none.
func loadOpeners(keys []config.DecryptionKey) (*keyset.Openers, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	specs := make([]keyset.Spec, len(keys))
	for i, k := range keys {
		specs[i] = keyset.Spec{File: k.File, KID: k.KID}
	}
	return keyset.LoadOpeners(specs)
}
