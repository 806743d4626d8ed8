package config

import (
	"maps"
	"slices"
	"strings"
)

// tenants checks the names of the tenants.
func (k *checker) tenants() {
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(k.c.Databases)) {
		tenant, key := k.c.Databases[name].Tenant, "databases."+name+".tenant"
		other, twice := seen[tenant]
		switch {
		case tenant == "":
			continue
		case strings.ContainsAny(tenant, ". \t=") || tenant != strings.ToLower(tenant):
			k.wrong(key, "cannot be told apart: "+quote(tenant), "Use lower case, and no dot, space or =.")
		case twice:
			k.wrong(key, "is that of "+other+", too", "A tenant has one database.")
		case name == "*":
			k.wrong(key, "is not for databases that are not listed", "Give the database of the tenant its own entry.")
		case len(k.c.TenantsBy) == 0 && k.c.TenantClaim == "":
			k.wrong("tenants_by", "is missing", "Say where clients name the tenant "+quote(tenant)+": user, options or sni; or set tenant_claim.")
		}
		seen[tenant] = name
	}
	if len(seen) == 0 && len(k.c.TenantsBy) > 0 {
		k.wrong("tenants_by", "is set, but no database has a tenant", "As in: databases: {app: {tenant: abc}}")
	}
	if len(seen) == 0 && k.c.TenantClaim != "" {
		k.wrong("tenant_claim", "is set, but no database has a tenant", "As in: databases: {app: {tenant: abc}}")
	}
	if k.c.TenantClaim != "" {
		return
	}
	for _, r := range k.c.Rules {
		if own := slices.DeleteFunc(slices.Sorted(maps.Values(seen)), func(name string) bool { return !r.matchesDatabase(name) }); r.takesTokens() && len(own) > 1 {
			k.warn("tenant_claim", "is missing: a token that rule "+quote(r.Name)+" takes is good for the databases of several tenants: "+strings.Join(own, ", "),
				"Name the claim that holds the tenant, or give each tenant a rule with issuers of its own.")
		}
	}
}

// Tenants gives the names of the databases that have a tenant, by tenant.
func (c *Config) Tenants() map[string]string {
	all := map[string]string{}
	for name, db := range c.Databases {
		if db.Tenant != "" {
			all[db.Tenant] = name
		}
	}
	return all
}
