package scram_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/scram"
)

// oddPasswords are passwords on which implementations of SASLprep disagree.
var oddPasswords = []string{
	"pencil", "with space", "x\x01y", "\x7f", "ümläut", "e\u0301", "\u00aa", "\u2168", "\ufb01", "日本語のパスワード",
	"x\u00a0y", "x\u200by", "\u200b", "x\u3000y", // spaces
	"I\u00adX", "x\u1806y", "x\u200dy", "\ufeffx", "\u00ad", // mapped to nothing
	"x\u0340y", "x\ufffdy", "x\ue000y", "x\u200ey", "x\u2028y", "x\U000e0001y", // forbidden
	"x\u0221y", "🔑", "x\u1d2cy", "x\u2090y", "x\ufa70y", // not assigned in Unicode 3.2, some with a normal form
	"\u0627\u0628", "\u06271", "\u0627 1 \u0628", "x\u0627y", "\u05d0x\u05d0", "x\ufe7ey", "\ufe8d\ufe8f", // both directions
}

// TestPasswordsAgainstPostgreSQL lets PostgreSQL make the verifier of each password: ours must be the same.
func TestPasswordsAgainstPostgreSQL(t *testing.T) {
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Shared(t, inst)
		role, _ := c.NewRole(t)
		conn := c.Connect(t, "postgres", cluster.Superuser, "")
		for _, password := range oddPasswords {
			sql := fmt.Sprintf("alter role %s password '%s'", role, strings.ReplaceAll(password, "'", "''"))
			if _, err := conn.Exec(context.Background(), sql); err != nil {
				t.Fatal(err)
			}
			var theirs string
			row := conn.QueryRow(context.Background(), "select rolpassword from pg_authid where rolname = $1", role)
			if err := row.Scan(&theirs); err != nil {
				t.Fatal(err)
			}
			v, err := scram.ParseVerifier(theirs)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := scram.NewVerifier([]byte(password), v.Salt, v.Iterations)
			if err != nil {
				t.Fatal(err)
			}
			if ours.Encode() != theirs {
				t.Errorf("%+q: other keys than PostgreSQL's", password)
			}
		}
	})
}
