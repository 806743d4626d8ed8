package admin

import (
	"context"
	"fmt"
	"strconv"

	"github.com/claimpool/claimpool"
)

// pause reads PAUSE DATABASE 'app', and RESUME.
func (p *parser) pause(word string) (*statement, error) {
	if p.take("DATABASE") == "" {
		return nil, syntax(word+" needs a database", "As in "+word+" DATABASE 'app'.")
	}
	database, err := p.value("DATABASE")
	if err != nil {
		return nil, err
	}
	on := word == "PAUSE"
	return &statement{
		name: word + " DATABASE", tag: word, right: Steer, columns: columns("sv_busy number"),
		run: func(ctx context.Context, s *session, args []string) (result, error) {
			name := database.of(args)
			r := result{said: strconv.Quote(name)}
			if s.Roster == nil {
				return r, errNotHere
			}
			busy, known, err := s.Roster.Pause(ctx, name, on)
			switch {
			case err != nil:
				return r, errNoPools(err)
			case !known && on:
				return r, &claimpool.Error{
					Code: claimpool.CodeInvalidCatalogName, Message: fmt.Sprintf("database %q does not exist", name), Hint: "SHOW DATABASES lists them.",
				}
			}
			r.rows = [][]any{{int64(busy)}}
			return r, nil
		},
	}, nil
}
