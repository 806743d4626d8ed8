// Package database puts the SQL dialect of the trusted context into a PostgreSQL database, looks at it, changes its keys and
// takes it out again. It does not know what the proxy does with a key.
package database

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool"
)

// Version is the version of the SQL in this program. A database with an older one is upgraded by Install.
const Version = 1

// Options says what to install.
type Options struct {
	API   string   // the schema for jwt(), jwt(text) and jwt_required(text); "public" when empty
	KeyID string   // the name of the first key; "k1" when empty
	With  []string // packs: supabase, neon, postgrest, vault, ticket, lookup, revocation

	// Unlogged keeps the sessions of a new pack vault in an unlogged table: faster to open and to end, and gone after a crash.
	Unlogged bool
}

// Key is a new key: the only copy outside the database.
type Key struct {
	ID     string
	Secret claimpool.Secret // 32 bytes as 64 hexadecimal digits
}

// File is the text of the proxy's key file: the name, a colon, the key.
func (k *Key) File() claimpool.Secret {
	return fmt.Appendf(nil, "%s:%s\n", k.ID, []byte(k.Secret))
}

// keyID is what a key may be called; claimpool.keys checks it too.
var keyID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// PlanInstall says what has to be done to install or upgrade: nothing when all is there. A first installation makes a key.
// Where the extension claimpool is installed, only packs are.
func PlanInstall(ctx context.Context, conn *pgx.Conn, opts Options) (*Plan, error) {
	if opts.API == "" {
		opts.API = "public"
	}
	if opts.KeyID == "" {
		opts.KeyID = "k1"
	}
	if !keyID.MatchString(opts.KeyID) {
		return nil, fmt.Errorf("key name %q: 1 to 32 letters, digits, _ and - are allowed", opts.KeyID)
	}
	s, err := Status(ctx, conn)
	if err != nil {
		return nil, err
	}
	list, err := s.missingPacks(opts.With)
	if err != nil {
		return nil, err
	}
	switch {
	case s.powerful:
		return nil, errors.New("there is a role claimpool_owner that may log in or is a superuser: it must be able to do nothing but own")
	case s.Extension != "" && len(opts.With) == 0:
		return nil, fmt.Errorf("the extension claimpool gives jwt() in database %q already; only packs can be added", s.Database)
	case s.Extension != "":
		return planInstall(s, "", list, opts.Unlogged), nil
	case s.Version > Version:
		return nil, fmt.Errorf("database %q has version %d of claimpool's SQL, newer than this program's %d: use a newer claimpool",
			s.Database, s.Version, Version)
	case s.Version > 0 && s.API != opts.API:
		return nil, fmt.Errorf("jwt() is already installed in schema %q: remove it first, to have it in %q", s.API, opts.API)
	}
	s.API = opts.API
	return planInstall(s, opts.KeyID, list, opts.Unlogged), nil
}

// planInstall plans what is missing: the SQL dialect unless there is the extension, its first key, and packs.
func planInstall(s *State, keyID string, list []pack, unlogged bool) *Plan {
	needsSQL := s.Extension == "" && s.Version < Version
	needsKey := s.Extension == "" && len(s.Keys) == 0
	if !needsSQL && !needsKey && len(list) == 0 {
		return &Plan{}
	}
	p := newPlan()
	if !s.owner {
		p.add("the owner of everything, a role without login", file("owner.sql", s.API))
	}
	if needsSQL || len(list) > 0 {
		p.addObjects(s, needsSQL, list, unlogged)
	}
	if needsKey {
		p.addKey(s, keyID)
	}
	return p
}

// addObjects plans the SQL dialect, if it is needed, and packs.
func (p *Plan) addObjects(s *State, needsSQL bool, list []pack, unlogged bool) {
	api := pgx.Identifier{s.API}.Sanitize()
	var last []string
	done := p.asOwner(s, func() {
		if needsSQL && s.Version == 0 {
			p.add("its schema", file("schema.sql", s.API))
		}
		p.addPackSchemas(s, list)
		if !needsSQL {
			p.add("packs call jwt()", "GRANT USAGE ON SCHEMA "+api+" TO claimpool_owner;")
			return
		}
		// PostgreSQL asks the owner of a new function for CREATE on its schema.
		p.add("CREATE is taken back below", "GRANT USAGE, CREATE ON SCHEMA "+api+" TO claimpool_owner;")
		last = append(last, "REVOKE CREATE ON SCHEMA "+api+" FROM claimpool_owner;")
	})
	if needsSQL && s.Version == 0 {
		p.add("tables", file("tables.sql", s.API))
	}
	if needsSQL {
		p.add("functions", file("functions.sql", s.API))
		p.add("what policies call", file("api.sql", s.API))
		p.add("the version", file("version.sql", s.API))
	}
	p.addPacks(s, list, unlogged)
	done(last...)
}

// asOwner plans to act as claimpool_owner: before is planned while we are still ourselves. The function that it gives plans
// the way back, and behind it what is planned as ourselves again.
func (p *Plan) asOwner(s *State, before func()) (done func(last ...string)) {
	join := s.join()
	become := join[len(join)-1]
	if len(join) > 1 {
		p.add("for the time of this transaction", joinOwner)
	}
	if before != nil {
		before()
	}
	p.add("from here on as the owner", become)
	return func(last ...string) {
		p.add("and back", "RESET ROLE;")
		if len(join) > 1 {
			last = append(last, leaveOwner)
		}
		for _, sql := range last {
			p.add("no longer needed", sql)
		}
	}
}

// Run carries a plan out in one transaction. The key is nil when the plan makes none.
func (p *Plan) Run(ctx context.Context, conn *pgx.Conn) (*Key, error) {
	if p.Empty() {
		return nil, nil
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // does nothing after Commit
	var key *Key
	for _, s := range p.steps {
		results, err := conn.PgConn().Exec(ctx, s.sql).ReadAll()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.title, err)
		}
		if s.sql == addKeySQL(p.keyID) {
			if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 1 {
				return nil, errors.New("make a key: the database gave none")
			}
			key = &Key{ID: p.keyID, Secret: results[0].Rows[0][0]}
		}
	}
	return key, tx.Commit(ctx)
}

// PlanRemove says how to take everything out again. The owner goes with its last database.
func PlanRemove(ctx context.Context, conn *pgx.Conn) (*Plan, error) {
	s, err := Status(ctx, conn)
	if err != nil {
		return nil, err
	}
	if s.Version == 0 && len(s.Packs) == 0 {
		return &Plan{}, nil
	}
	p := newPlan()
	done := p.asOwner(s, nil)
	p.removePacks(s)
	if s.Version > 0 {
		p.add("everything, unless something uses it", file("remove.sql", s.API))
	}
	last := []string{"REVOKE ALL ON SCHEMA " + pgx.Identifier{s.API}.Sanitize() + " FROM claimpool_owner;"}
	if slices.Contains(s.Packs, "lookup") {
		last = append(last, revokeLookup)
	}
	done(last...)
	p.removeRoles(s)
	if !s.elsewhere {
		p.add("the owner, which no other database needs", "DROP ROLE claimpool_owner;")
	}
	return p, nil
}

// PlanAddKey says how to add a key, for a rotation: add the new one, give it to the proxies, remove the old one.
func PlanAddKey(ctx context.Context, conn *pgx.Conn, id string) (*Plan, error) {
	s, err := installed(ctx, conn)
	if err != nil {
		return nil, err
	}
	if !keyID.MatchString(id) {
		return nil, fmt.Errorf("key name %q: 1 to 32 letters, digits, _ and - are allowed", id)
	}
	for _, k := range s.Keys {
		if k.ID == id {
			return nil, fmt.Errorf("there is a key %q already, made %s", id, k.Created.Format("2006-01-02 15:04"))
		}
	}
	p := newPlan()
	p.addKey(s, id)
	return p, nil
}

func (p *Plan) addKey(s *State, id string) {
	p.keyID = id
	done := p.asOwner(s, nil)
	p.add("a random key, which the database tells once", addKeySQL(id))
	done()
}

func addKeySQL(id string) string { return "SELECT claimpool.add_key(" + literal(id) + ");" }

// PlanRemoveKey says how to remove a key: what it sealed is refused from then on.
func PlanRemoveKey(ctx context.Context, conn *pgx.Conn, id string) (*Plan, error) {
	s, err := installed(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, k := range s.Keys {
		if k.ID == id {
			p := newPlan()
			done := p.asOwner(s, nil)
			p.add("the key", "DELETE FROM claimpool.keys WHERE kid = "+literal(id)+";")
			done()
			return p, nil
		}
	}
	return nil, fmt.Errorf("there is no key %q", id)
}

func installed(ctx context.Context, conn *pgx.Conn) (*State, error) {
	s, err := Status(ctx, conn)
	if err == nil && s.Version == 0 {
		err = fmt.Errorf("claimpool's SQL is not installed in database %q", s.Database)
	}
	return s, err
}
