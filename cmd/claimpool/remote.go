package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/keyset"
)

// remote are the keys of one issuer that are fetched.
type remote struct {
	*keyset.Remote
	declared config.Issuer // what it was made from
	roots    []byte        // as read
	authors  []byte        // as read: the authorities of the keys' certificates
	started  bool
}

// newRemote makes a source that has not fetched yet.
func newRemote(is config.Issuer) (*remote, error) {
	r := &remote{declared: is}
	spec := keyset.RemoteSpec{
		Discovery: is.Discovery, JWKS: is.JWKSURL, Algorithms: is.Algorithms, Interval: is.Fetch.Interval,
		AskAgain: is.Fetch.UnknownKIDInterval, StaleAfter: is.Fetch.StaleAfter, Timeout: is.Fetch.Timeout,
	}
	var err error
	if r.roots, spec.Roots, err = readPool(is.Fetch.CAFile); err != nil {
		return nil, fmt.Errorf("fetch.ca_file: %w", err)
	}
	if r.authors, spec.Authorities, err = readPool(is.Fetch.X5CCAFile); err != nil {
		return nil, fmt.Errorf("fetch.x5c_ca_file: %w", err)
	}
	r.Remote, err = keyset.NewRemote(spec)
	return r, err
}

// readPool reads certificates; nil without a file.
func readPool(file string) ([]byte, *x509.CertPool, error) {
	if file == "" {
		return nil, nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, nil, errors.New("it holds no certificate (PEM)")
	}
	return data, pool, nil
}

// same reports whether another one would fetch the same from the same place.
func (r *remote) same(other *remote) bool {
	return r != nil && bytes.Equal(r.roots, other.roots) && bytes.Equal(r.authors, other.authors) &&
		r.declared.Discovery == other.declared.Discovery && r.declared.JWKSURL == other.declared.JWKSURL &&
		r.declared.Fetch == other.declared.Fetch && reflect.DeepEqual(r.declared.Algorithms, other.declared.Algorithms)
}

// firstFetch is how long a start or a reload waits for issuers to answer. Whoever takes longer is used as soon as it does.
const firstFetch = 5 * time.Second

// start begins to fetch the keys that are not fetched yet, and waits a little for the first ones. An issuer that cannot be reached
// is no reason not to serve the others.
func (is *issuers) start(log *slog.Logger) {
	var begun []*remote
	for _, name := range slices.Sorted(maps.Keys(is.remotes)) {
		if r := is.remotes[name]; !r.started {
			r.started = true
			iss := is.verifiers[name].Rules.Issuer
			r.Start(func(rep keyset.Report) { logFetch(log, iss, rep) })
			begun = append(begun, r)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstFetch)
	defer cancel()
	for _, r := range begun {
		r.Fetched(ctx)
	}
}

// close ends the fetching of all keys that others, which may be nil, do not use.
func (is *issuers) close(others *issuers) {
	for name, r := range is.remotes {
		if others == nil || others.remotes[name] != r {
			r.Close()
		}
	}
}

// logFetch tells news once, not at each fetch.
func logFetch(log *slog.Logger, issuer string, rep keyset.Report) {
	log = log.With(claimpool.LogIssuer, issuer)
	switch {
	case !rep.Changed:
	case rep.Err != nil && time.Now().After(rep.Until):
		log.Error("the keys of an issuer cannot be fetched: its tokens are refused until that works", claimpool.LogErr, rep.Err.Error())
	case rep.Err != nil:
		log.Warn("the keys of an issuer cannot be fetched: the last ones stay in use for a while", claimpool.LogErr, rep.Err.Error(),
			claimpool.LogReason, "until "+rep.Until.UTC().Format(time.RFC3339))
	case len(rep.KIDs) == 0:
		log.Error("an issuer publishes no key that can be used: its tokens are refused", claimpool.LogReason, leftOut(rep.Skipped))
	default:
		log.Info("the keys of an issuer are fetched", claimpool.LogKID, strings.Join(rep.KIDs, ", "))
		if len(rep.Skipped) > 0 {
			log.Warn("keys left out", claimpool.LogReason, leftOut(rep.Skipped))
		}
	}
}

func leftOut(skipped []keyset.Skip) string {
	var list []string
	for _, s := range skipped {
		list = append(list, fmt.Sprintf("%s: key %q: %s", s.File, s.KID, s.Reason))
	}
	return strings.Join(list, "; ")
}

// plans says what serve would fetch.
func (is *issuers) plans() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(is.remotes)) {
		d := is.remotes[name].declared
		what := d.JWKSURL
		if d.Discovery != "" {
			what = keyset.DiscoveryURL(d.Discovery) + " and the keys that it names"
		}
		list = append(list, fmt.Sprintf("issuers.%s: serve would fetch %s, every %s at the latest", name, what, d.Fetch.Interval))
	}
	return list
}
