package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Revocation is the table of those who are signed out before the end of their tokens.
type Revocation struct {
	// The database with the table that "claimpool db install --with revocation" made, as for psql:
	// "postgres://claimpool_proxy@db.example.com/app?sslmode=verify-full". The role must be a member of claimpool_revocation, and
	// no pool may use it. Directly, not through a pooler. Empty: nobody can be signed out. What is missing comes from PGHOST, PGSSLROOTCERT and so on.
	DSN string `yaml:"dsn" short:"yes"`

	// Where the role's password is.
	Password Secret `yaml:"password"`

	// How long a revocation is kept: as long as the longest token lives, so every issuer needs a max_lifetime that is not longer.
	Keep time.Duration `yaml:"keep" bounds:"1m..8760h"`

	// How long the table may be out of reach before "when_stale" counts. A start waits up to 5s for the first look.
	StaleAfter time.Duration `yaml:"stale_after" bounds:"5s..24h"`

	// What happens to new logins and fresh tokens when the table has been out of reach for stale_after. refuse: they are refused
	// (57P03). serve: they are judged by what is known. Connections go on in either case.
	WhenStale string `yaml:"when_stale" values:"refuse|serve"`

	// The longest time between two looks at the table. A notification makes the proxy look at once.
	PollInterval time.Duration `yaml:"poll_interval" bounds:"100ms..1m"`
}

// On reports whether there is a table.
func (r Revocation) On() bool { return r.DSN != "" }

// Admin is the endpoint for administrators and their programs.
type Admin struct {
	// The address to listen on, as "127.0.0.1:6433". Without TLS it must be a loopback address. Empty: nowhere.
	Listen string `yaml:"listen"`

	// The certificate. It is not that of the clients' listeners: it must be given here.
	TLS TLS `yaml:"tls"`

	// Where the token is that every request must bring (Authorization: Bearer TOKEN): 32 characters or more.
	Token Secret `yaml:"token"`

	// Where a second token is, for programs that read GET /metrics: it opens nothing else. 32 characters or more, and not those of "token".
	// Empty: they need the token of administrators.
	MetricsToken Secret `yaml:"metrics_token"`

	// A second address, as ":6435", for GET /healthz and GET /readyz alone, which "listen" has, too: without TLS, without a token, and with
	// no word but ok or not. For orchestrators and load balancers, which cannot reach a loopback address. Empty: nowhere.
	HealthListen string `yaml:"health_listen"`
}

// Logout is where issuers tell of logouts (OpenID Connect Back-Channel Logout).
type Logout struct {
	// The address to listen on, as "10.0.0.5:6434". Without TLS it must be a loopback address. Empty: nowhere. The path is
	// /backchannel-logout.
	Listen string `yaml:"listen"`

	// The certificate. It is not that of the clients' listeners: it must be given here.
	TLS TLS `yaml:"tls"`
}

// IssuerLogout is what the logout tokens of an issuer must say.
type IssuerLogout struct {
	// The accepted audiences: the client ids under which the issuer sends logouts here. Empty: its logout tokens are refused.
	Audience []string `yaml:"audience" short:"yes"`

	// The accepted values of a logout token's header "typ"; "" stands for a token without one. Issuers that are older than the
	// standard write JWT. Empty: logout+jwt.
	Types []string `yaml:"types"`
}

// revocation checks the table, and that no token can outlive its revocation.
func (k *checker) revocation() {
	r := k.c.Revocation
	if !r.On() {
		if !r.Password.Empty() {
			k.wrong("revocation.dsn", "is missing", `As in: dsn: "postgres://claimpool_proxy@db.example.com/app?sslmode=verify-full"`)
		}
		return
	}
	k.table("revocation", r.DSN, r.Password)
	if r.StaleAfter < 2*r.PollInterval {
		k.wrong("revocation.stale_after", "is shorter than two poll intervals", "Every login would be refused now and then.")
	}
	for _, name := range slices.Sorted(maps.Keys(k.c.Issuers)) {
		switch is := k.c.Issuers[name]; {
		case is.MaxLifetime == 0:
			k.wrong("issuers."+name+".max_lifetime", "is missing", "With revocation.dsn a token must not outlive its revocation. As in: max_lifetime: 12h")
		case is.MaxLifetime > r.Keep:
			k.wrong("issuers."+name+".max_lifetime", "is longer than revocation.keep", "A token could outlive its revocation.")
		}
	}
}

// table checks the way to a table of the proxy's own.
func (k *checker) table(key, dsn string, password Secret) {
	k.secret(key+".password", password)
	if strings.Contains(strings.ToLower(dsn), "password") || passwordInURL(dsn) {
		k.wrong(key+".dsn", "holds a password", "Put it into a file, and name that with "+key+".password.")
	}
	if u, err := url.Parse(dsn); err == nil && u.Host != "" && !loopback(u.Hostname()) && u.Query().Get("sslmode") != "verify-full" {
		k.warn(key+".dsn", "does not check whose server it is", "Add sslmode=verify-full.")
	}
}

func passwordInURL(dsn string) bool {
	u, err := url.Parse(dsn)
	if err != nil || u.User == nil {
		return false
	}
	_, has := u.User.Password()
	return has
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// admin checks the two endpoints that speak HTTP.
func (k *checker) admin() {
	a, l := k.c.Admin, k.c.Logout
	k.endpoint("admin", a.Listen, a.TLS)
	k.endpoint("logout", l.Listen, l.TLS)
	k.secret("admin.token", a.Token)
	if a.Listen != "" && a.Token.Empty() {
		k.wrong("admin.token", "is missing", "As in: token: {file: admin-token}. Make one with: openssl rand -hex 32")
	}
	k.monitoring(a, l)
	var issuers []string
	for _, name := range slices.Sorted(maps.Keys(k.c.Issuers)) {
		if len(k.c.Issuers[name].Logout.Audience) > 0 {
			issuers = append(issuers, name)
		} else if len(k.c.Issuers[name].Logout.Types) > 0 {
			k.wrong("issuers."+name+".logout.audience", "is missing", "Name the client id under which the issuer sends logouts here.")
		}
	}
	switch {
	case l.Listen != "" && !k.c.Revocation.On():
		k.wrong("logout.listen", "needs revocation.dsn", "A logout is kept in that table.")
	case l.Listen != "" && len(issuers) == 0:
		k.wrong("logout.listen", "is for nobody", "Name the client id with issuers.NAME.logout.")
	case l.Listen == "" && len(issuers) > 0:
		k.wrong("logout.listen", "is missing", "issuers."+issuers[0]+".logout has nowhere to send its logouts.")
	}
	if l.Listen != "" && l.Listen == a.Listen && !strings.HasSuffix(l.Listen, ":0") {
		k.wrong("logout.listen", "is that of admin", "Issuers must not reach what is for administrators: give each a port.")
	}
}

// monitoring checks what programs look at.
func (k *checker) monitoring(a Admin, l Logout) {
	k.secret("admin.metrics_token", a.MetricsToken)
	if a.Listen == "" && !a.MetricsToken.Empty() {
		k.wrong("admin.listen", "is missing", "admin.metrics_token is for its /metrics. As in: listen: 127.0.0.1:6433")
	}
	if !a.MetricsToken.Empty() && reflect.DeepEqual(a.MetricsToken, a.Token) {
		k.wrong("admin.metrics_token", "is that of administrators", "Whoever reads metrics could sign people out: make another one with: openssl rand -hex 32")
	}
	if a.HealthListen == "" {
		return
	}
	if _, _, err := net.SplitHostPort(a.HealthListen); err != nil || CheckListen(a.HealthListen) != nil {
		k.wrong("admin.health_listen", fmt.Sprintf("cannot understand the address %s", quote(a.HealthListen)), `Write "127.0.0.1:6435", or ":6435" for all interfaces.`)
	}
	if (a.HealthListen == a.Listen || a.HealthListen == l.Listen) && !strings.HasSuffix(a.HealthListen, ":0") {
		k.wrong("admin.health_listen", "is that of another endpoint", "Give it a port of its own: everybody may ask it.")
	}
}

// endpoint checks an address for HTTP: in the clear on this machine alone.
func (k *checker) endpoint(key, address string, t TLS) {
	if address == "" {
		if t.Enabled() {
			k.wrong(key+".listen", "is missing", "As in: listen: 127.0.0.1:6433")
		}
		return
	}
	host, _, err := net.SplitHostPort(address)
	switch {
	case err != nil || CheckListen(address) != nil:
		k.wrong(key+".listen", fmt.Sprintf("cannot understand the address %s", quote(address)), `Write "127.0.0.1:6433", or ":6433" for all interfaces.`)
	case !t.Enabled() && !loopback(host):
		k.wrong(key+".tls", "is missing", "Without it only a loopback address is allowed, such as 127.0.0.1.")
	}
	k.certificate(key+".tls", t)
}
