package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// State is what a database has of the SQL dialect.
type State struct {
	Database string
	Server   string // PostgreSQL's version
	Version  int    // of the installed SQL; 0 when there is none
	API      string // the schema of jwt(); empty when nothing is installed
	Keys     []KeyInfo
	Packs    []string // the compatibility packs that are there
	Problems []string // what makes the installation unsafe; empty is good

	// Extension is the version of the extension claimpool where that gives jwt(), in place of the SQL; Version is 0 then.
	Extension string

	user      string // who we are
	superuser bool
	member    bool // we may SET ROLE claimpool_owner
	owner     bool // the role claimpool_owner exists
	powerful  bool // and may log in or is a superuser
	elsewhere bool // and owns things in other databases
	schema    bool // the schema claimpool exists
	ours      bool // and belongs to claimpool_owner, with its tables

	packOwners map[string]string // the schemas of packs that exist, with their owners
}

// KeyInfo names a key; the key itself never leaves the database twice.
type KeyInfo struct {
	ID      string
	Created time.Time
}

// Status looks at a database and changes nothing. roles are the roles that pools use: the problems name what they could do.
func Status(ctx context.Context, conn *pgx.Conn, roles ...string) (*State, error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, pinPath); err != nil {
		return nil, err
	}
	s := &State{}
	err = tx.QueryRow(ctx, aboutUs).Scan(&s.Database, &s.Server, &s.user, &s.superuser, &s.owner, &s.powerful,
		&s.schema, &s.ours, &s.member, &s.elsewhere, &s.Extension, &s.API)
	if err != nil {
		return nil, fmt.Errorf("look at the database: %w", err)
	}
	if err := s.readPacks(ctx, tx); err != nil {
		return nil, fmt.Errorf("look for packs: %w", err)
	}
	switch {
	case s.Extension != "":
		return s, s.readProblems(ctx, tx, roles, everywhere)
	case !s.schema:
		return s, nil
	case !s.ours:
		return nil, errors.New("there is a schema claimpool that does not belong to role claimpool_owner: somebody else has made it")
	}
	if err := s.readInstallation(ctx, tx); err != nil {
		return nil, err
	}
	return s, s.readProblems(ctx, tx, roles, everywhere, ofTheSQL)
}

// readProblems asks questions, each of which finds some problems.
func (s *State) readProblems(ctx context.Context, tx pgx.Tx, roles []string, questions ...[]string) error {
	for _, question := range slices.Concat(questions...) {
		rows, err := tx.Query(ctx, given+question, append([]string{}, roles...), s.API)
		if err != nil {
			return fmt.Errorf("look for problems: %w", err)
		}
		problems, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("look for problems: %w", err)
		}
		s.Problems = append(s.Problems, problems...)
	}
	return nil
}

// readPacks finds the packs and the schemas of their names, whoever these belong to.
func (s *State) readPacks(ctx context.Context, tx pgx.Tx) error {
	s.packOwners = map[string]string{}
	for _, schema := range packSchemas {
		var owner string
		var functions []string
		err := tx.QueryRow(ctx, aboutSchema, schema.name).Scan(&owner, &functions)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		s.packOwners[schema.name] = owner
		for _, p := range packs {
			name, _, _ := strings.Cut(p.functions[0], "(")
			if slices.Contains(functions, name) {
				s.Packs = append(s.Packs, p.name)
			}
		}
	}
	return nil
}

// readInstallation reads our own tables, which only the owner and superusers may. It may make us a member of the owner: the
// caller rolls back.
func (s *State) readInstallation(ctx context.Context, tx pgx.Tx) error {
	for _, sql := range s.join() {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("role %q may not look into schema claimpool: %w", s.user, err)
		}
	}
	if err := tx.QueryRow(ctx, "select version, api from claimpool.version").Scan(&s.Version, &s.API); err != nil {
		return fmt.Errorf("read claimpool.version: %w", err)
	}
	rows, err := tx.Query(ctx, "select kid, created from claimpool.keys order by created, kid")
	if err != nil {
		return fmt.Errorf("list the keys: %w", err)
	}
	s.Keys, err = pgx.CollectRows(rows, pgx.RowToStructByPos[KeyInfo])
	return err
}

// join is the SQL that makes us able to act as the owner.
func (s *State) join() []string {
	if s.superuser || s.member {
		return []string{becomeOwner}
	}
	return []string{joinOwner, becomeOwner}
}
