package proxy

import (
	"encoding/json"
	"regexp"

	"github.com/claimpool/claimpool"
)

// ownTenant holds a client to the tenant of its token, which is proved, whatever tenant or database it has named, which is not. Who
// has named none gets the database of its tenant, if the rule for that one is the same: what was proved for one database is not enough for
// another one.
func (v *visitor) ownTenant(cfg *Config) error {
	t := &cfg.Tenants
	own, bound := t.ownDatabase(v.identity)
	switch {
	case !bound || own == v.request.Database || cfg.isConsole(v.request.Database): // whose the console is, it says itself
		return nil
	case own == "" && !t.has(v.request.Database):
		return nil
	case own == "" || t.has(v.request.Database):
		return errOtherTenant
	}
	req := v.request
	req.Database = own
	byToken := v.identity.Method == claimpool.MethodJWT || v.identity.Method == claimpool.MethodOAuth
	if !byToken || !cfg.Auth.Admits(v.identity, req) {
		return errOtherTenant
	}
	v.request = req
	return nil
}

// staysWith refuses a fresh token that would not have got the client to its database.
func (c *client) staysWith(next *claimpool.Identity) error {
	t, database := &c.pool.hub.proxy.config.Load().Tenants, c.pool.key.database
	if own, bound := t.ownDatabase(next); bound && own != database && (own != "" || t.has(database)) {
		return errOtherTenant
	}
	return nil
}

// ownDatabase gives the database of the tenant that an identity's token names; empty when it names none that has one. bound is false
// where tokens are not bound to tenants, for whoever has no token (a certificate's claims are its names), and for those whose token the
// API of this very database has judged.
func (t *Tenants) ownDatabase(id *claimpool.Identity) (database string, bound bool) {
	if t.Claim == "" || id.Claims == nil || id.Proof.Login || id.Method == claimpool.MethodJIT {
		return "", false
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(id.Claims, &claims) != nil {
		return "", true
	}
	var tenant string
	switch value := claims[t.Claim]; {
	case integer.Match(value):
		tenant = string(value)
	case json.Unmarshal(value, &tenant) != nil:
		return "", true
	}
	return t.Databases[tenant], true
}

// integer is a number as tenants are numbered.
var integer = regexp.MustCompile(`\A-?[0-9]+\z`)

// has reports whether a database is a tenant's.
func (t *Tenants) has(database string) bool {
	for _, name := range t.Databases {
		if name == database {
			return true
		}
	}
	return false
}

var errOtherTenant = &claimpool.Error{
	Code: claimpool.CodeInvalidAuthorization, Message: "the token is not of the tenant of this database",
	Hint: "Ask for the database of the token's tenant, or bring a token of this one.",
}
