package database

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// pack is a set of functions beside jwt(). Some have the names that policies written for another system call, and read jwt(),
// whichever dialect it is of; others are sources of claims of their own, with tables.
type pack struct {
	name      string
	schema    string
	functions []string // the first one tells whether the pack is there
	tables    []string // with all that belongs to them
	role      string   // who may use it, a role without login, in role_NAME.sql; empty: no role of its own
}

var packs = []pack{
	{"supabase", "auth", []string{"auth.role()", "auth.email()"}, nil, ""},
	{"neon", "auth", []string{"auth.session()", "auth.user_id()", "auth.organization_id()", "auth.organization()"}, nil, ""},
	{"postgrest", "request", []string{"request.setting(text, boolean)", "request.refuse(text)"}, nil, ""},
	{"vault", "claimpool_vault", qualify("claimpool_vault",
		"claim(text)", "claims()", "resume(text, boolean)", "find(text)", "logout(text)", "login(text, text)",
		"open(jsonb, name, interval)", "set_account(text, text, jsonb, interval)", "remove_account(text)", "list()",
		"revoke(bigint)", "revoke_all(text)", "put(jsonb, name, interval)", "check_claims(jsonb, interval)",
		"stretch(text, bytea)", "admit(text)"), qualify("claimpool_vault", "sessions", "accounts"), ""},
	{"ticket", "claimpool_ticket", qualify("claimpool_ticket",
		"claim(text)", "claims()", "present(text, boolean)", "find(text)", "sign(jsonb, name, interval, text)",
		"mac(bytea, bytea, text)", "connection()", "rotate()"), qualify("claimpool_ticket", "keys"), ""},
	{"lookup", "claimpool_lookup", qualify("claimpool_lookup", "password(text)"), nil, ""},
	{"revocation", "claimpool_revocation", qualify("claimpool_revocation",
		"revoke(text[], bytea[], text, text, timestamptz, text, bytea)", "undo(bigint, text)", "since(bigint)", "forget(interval)"),
		qualify("claimpool_revocation", "revocations"), "claimpool_revocation"},
	{"audit", "claimpool_audit", qualify("claimpool_audit", "prune(interval)"), qualify("claimpool_audit", "records"), "claimpool_audit"},
}

func qualify(schema string, names ...string) []string {
	for i := range names {
		names[i] = schema + "." + names[i]
	}
	return names
}

// packSchema is a schema of packs, with the file and the functions that all packs in it share.
type packSchema struct {
	name, file string
	functions  []string
}

var packSchemas = []packSchema{
	{"auth", "pack_auth.sql", []string{"auth.uid()", "auth.jwt()"}},
	{"request", "", nil},
	{"claimpool_vault", "", nil},
	{"claimpool_ticket", "", nil},
	{"claimpool_lookup", "", nil},
	{"claimpool_revocation", "", nil},
	{"claimpool_audit", "", nil},
}

// What the pack lookup reads. Only a superuser may give that, and take it back.
const (
	lookupColumns = "SELECT (rolname, rolpassword, rolcanlogin, rolsuper, rolreplication, rolvaliduntil) ON pg_catalog.pg_authid"
	grantLookup   = "GRANT " + lookupColumns + " TO claimpool_owner;"
	revokeLookup  = "REVOKE " + lookupColumns + " FROM claimpool_owner;"
)

// neededBy reports whether one of the packs lives there.
func (s packSchema) neededBy(list []pack) bool {
	return slices.ContainsFunc(list, func(p pack) bool { return p.schema == s.name })
}

// missingPacks checks the names of packs and gives those that are not there yet.
func (s *State) missingPacks(names []string) (list []pack, err error) {
	for _, name := range names {
		i := slices.IndexFunc(packs, func(p pack) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no pack %q: supabase, neon, postgrest, vault, ticket, lookup, revocation and audit are", name)
		}
		p := packs[i]
		if name == "lookup" && !s.superuser {
			return nil, errors.New("the pack lookup reads stored passwords, which only a superuser may allow")
		}
		if owner := s.packOwners[p.schema]; owner != "" && owner != "claimpool_owner" {
			return nil, fmt.Errorf("there is a schema %s that belongs to role %q: the pack %s would have to take it over, and does not",
				p.schema, owner, name)
		}
		if !slices.Contains(s.Packs, name) && !slices.ContainsFunc(list, func(q pack) bool { return q.name == name }) {
			list = append(list, p)
		}
	}
	return list, nil
}

// addPackSchemas plans the schemas that packs need and that are not there. We are still ourselves.
func (p *Plan) addPackSchemas(s *State, list []pack) {
	for _, schema := range packSchemas {
		if schema.neededBy(list) && s.packOwners[schema.name] == "" {
			p.add("a schema for a pack", "CREATE SCHEMA "+schema.name+" AUTHORIZATION claimpool_owner;")
		}
	}
	if slices.ContainsFunc(list, func(q pack) bool { return q.name == "lookup" }) {
		p.add("what the pack lookup reads", grantLookup)
	}
	for _, q := range list {
		if q.role != "" {
			p.add("who may use the pack "+q.name+", a role without login", file("role_"+q.name+".sql", s.API))
		}
	}
}

// addPacks plans their functions and tables, as the owner.
func (p *Plan) addPacks(s *State, list []pack, unlogged bool) {
	persistence := ""
	if unlogged {
		persistence = "UNLOGGED"
	}
	for _, schema := range packSchemas {
		if schema.neededBy(list) && schema.file != "" {
			p.add("what all packs in schema "+schema.name+" have", file(schema.file, s.API))
		}
	}
	for _, q := range list {
		p.add("the pack "+q.name, strings.ReplaceAll(file("pack_"+q.name+".sql", s.API), ":persistence", persistence))
	}
}

// removePacks plans to drop what is there of them, as the owner. Policies that call them stop it.
func (p *Plan) removePacks(s *State) {
	for _, q := range packs {
		if slices.Contains(s.Packs, q.name) {
			sql := "DROP FUNCTION " + strings.Join(q.functions, ", ") + ";"
			if q.tables != nil {
				sql += "\nDROP TABLE " + strings.Join(q.tables, ", ") + ";"
			}
			p.add("the pack "+q.name, sql)
		}
	}
	for _, schema := range packSchemas {
		if s.packOwners[schema.name] != "claimpool_owner" {
			continue
		}
		sql := "DROP SCHEMA " + schema.name + ";"
		if schema.functions != nil {
			sql = "DROP FUNCTION " + strings.Join(schema.functions, ", ") + ";\n" + sql
		}
		p.add("the schema of packs", sql)
	}
}

// removeRoles plans to drop the roles of packs that no other database needs, as ourselves.
func (p *Plan) removeRoles(s *State) {
	for _, q := range packs {
		if q.role != "" && slices.Contains(s.Packs, q.name) {
			p.add("who may use the pack "+q.name, file("remove_role_"+q.name+".sql", s.API))
		}
	}
}
