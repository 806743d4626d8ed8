package proxy

import (
	"slices"
	"strings"

	"github.com/claimpool/claimpool"
)

// Tenants are databases that clients name in another way than by the database that they ask for, as they do with Supavisor. It is as
// little a proof as the name of a database: the rules of the database decide.
type Tenants struct {
	Databases map[string]string // the names of databases, by tenant

	User    bool // the user name ends with a dot and the tenant: the rest is the user
	Options bool // the startup parameter "options" holds reference=TENANT
	SNI     bool // the host name that the client's TLS asks for begins with the tenant and a dot

	Claim string // of a token: names the tenant whose it is, which is proved; see ownTenant. Empty: tokens are not bound to tenants
}

// reference is how a tenant stands in the startup parameter "options".
const reference = "reference="

// findTenant makes a client of a tenant one of its database. A client that names two tenants is refused.
func (v *visitor) findTenant(t *Tenants) error {
	var named []string
	note := func(tenant string) bool {
		_, known := t.Databases[tenant]
		if known {
			named = append(named, tenant)
		}
		return known
	}
	if t.User {
		if note(v.target) {
			v.target = "" // the tenant's database, as it is
		}
		if i := strings.LastIndexByte(v.request.User, '.'); i > 0 && note(v.request.User[i+1:]) {
			v.request.User = v.request.User[:i]
		}
	}
	if t.Options {
		params := v.hello.Startup.Params
		for i := range params {
			if params[i][0] == "options" {
				params[i][1] = t.fromOptions(params[i][1], note)
			}
		}
	}
	if t.SNI && v.request.TLS != nil {
		tenant, _, _ := strings.Cut(strings.ToLower(v.request.TLS.ServerName), ".")
		note(tenant)
	}
	switch named = slices.Compact(named); len(named) {
	case 0:
		return nil
	case 1:
		v.request.Database = t.Databases[named[0]]
		return nil
	}
	return &claimpool.Error{
		Code: claimpool.CodeInvalidAuthorization, Message: "several tenants are named",
		Hint: "Name one tenant: behind the user, in options, or by the host.",
	}
}

// fromOptions takes the tenant out of the options, which PostgreSQL would not understand.
func (t *Tenants) fromOptions(options string, note func(string) bool) string {
	args := strings.Fields(options)
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, reference) }) {
		return options // as it stands, with its backslashes
	}
	args = slices.DeleteFunc(args, func(arg string) bool {
		tenant, ok := strings.CutPrefix(arg, reference)
		return ok && note(tenant)
	})
	return strings.Join(args, " ")
}
