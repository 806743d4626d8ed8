package admin

import (
	"context"
	"strconv"
	"time"

	"github.com/claimpool/claimpool"
)

// Roster tells who is connected, and ends connections.
type Roster interface {
	// Clients gives the clients in the order in which they came, most of them at most; more says that there are others.
	Clients(ctx context.Context, most int) (list []Client, more bool, err error)

	// Servers gives the server connections of all pools.
	Servers(ctx context.Context) ([]Server, error)

	// Kill ends a client by its number, or when that is 0 those of a database, or of one of its roles (empty: all). It says how many there were.
	Kill(ctx context.Context, number uint64, database, role string) (int, error)

	// Pause lets the clients of a database wait for servers, or ends that. It says how many server connections are still in use; known is
	// false for a database that is not there.
	Pause(ctx context.Context, database string, on bool) (busy int, known bool, err error)
}

// Client is what one client does at a moment.
type Client struct {
	Number                 uint64
	Addr                   string
	Database, Target, Role string
	Identity               *claimpool.Identity
	Doing                  string
	Server                 uint32 // 0: none
	Login                  time.Time
	Idle                   time.Duration
}

// Server is what one server connection does at a moment.
type Server struct {
	PID                    uint32
	Addr                   string
	Database, Target, Role string
	Identity               *claimpool.Identity // nil: nobody's context is on it
	Client                 uint64              // 0: none
	Doing                  string
	Pinned                 bool
	Born                   time.Time
	Idle                   time.Duration
}

// maxShownClients is how many clients are shown at most: more would take memory, and nobody reads them.
const maxShownClients = 10_000

func init() {
	views["CLIENTS"] = view{
		columns("client number", "addr", "database", "target", "role", "identity", "method", "state", "server number", "login moment", "idle_s number", "token_ends moment"),
		"who is connected, and what each does", showClients,
	}
	views["SERVERS"] = view{
		columns("server number", "addr", "database", "target", "role", "state", "pinned flag", "client number", "identity", "opened moment", "idle_s number"),
		"the server connections of all pools", showServers,
	}
}

func showClients(ctx context.Context, s *session) (rows [][]any, err error) {
	if s.Roster == nil {
		return nil, errNotHere
	}
	list, more, err := s.Roster.Clients(ctx, maxShownClients)
	if err != nil {
		return nil, errNoPools(err)
	}
	if more {
		s.notice("there are more clients than are shown")
	}
	for i := range list {
		c := &list[i]
		who, method, ends := "", "", any(nil)
		if c.Identity != nil {
			who, method, ends = c.Identity.String(), string(c.Identity.Method), orNull(c.Identity.Expires)
		}
		rows = append(rows, []any{int64(c.Number), c.Addr, c.Database, c.Target, c.Role, who, method, c.Doing, orNone(uint64(c.Server)), orNull(c.Login), seconds(c.Idle), ends})
	}
	return rows, nil
}

func showServers(ctx context.Context, s *session) (rows [][]any, err error) {
	if s.Roster == nil {
		return nil, errNotHere
	}
	list, err := s.Roster.Servers(ctx)
	if err != nil {
		return nil, errNoPools(err)
	}
	for i := range list {
		c := &list[i]
		who := any(nil)
		if c.Identity != nil {
			who = c.Identity.String()
		}
		rows = append(rows, []any{int64(c.PID), c.Addr, c.Database, c.Target, c.Role, c.Doing, c.Pinned, orNone(c.Client), who, orNull(c.Born), seconds(c.Idle)})
	}
	return rows, nil
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func orNone(n uint64) any {
	if n == 0 {
		return nil
	}
	return int64(n)
}

// kill reads KILL CLIENT 7, and KILL DATABASE 'app' ROLE 'app_user'.
func (p *parser) kill() (*statement, error) {
	what := p.take("CLIENT", "DATABASE")
	var number, database, role value
	var err error
	one := false // of its roles
	switch what {
	case "CLIENT":
		if n := p.peek(); n != "" { // a number may stand without quotes
			p.tokens = p.tokens[1:]
			number.text = n
		} else {
			number, err = p.value("CLIENT")
		}
	case "DATABASE":
		if database, err = p.value("DATABASE"); err == nil && p.take("ROLE") != "" {
			one = true
			role, err = p.value("ROLE")
		}
	default:
		err = syntax("KILL needs to know what", "As in KILL CLIENT 7, or KILL DATABASE 'app' ROLE 'app_user'.")
	}
	if err != nil {
		return nil, err
	}
	return &statement{
		name: "KILL " + what, tag: "KILL", right: Steer, columns: columns("killed number"),
		run: func(ctx context.Context, s *session, args []string) (result, error) {
			var n uint64
			r := result{said: strconv.Quote(database.of(args)) + " " + strconv.Quote(role.of(args))}
			if what == "CLIENT" {
				var err error
				if n, err = strconv.ParseUint(number.of(args), 10, 64); err != nil || n == 0 {
					return result{}, nobody("SHOW CLIENTS has the numbers of clients.")
				}
				r.said = strconv.FormatUint(n, 10)
			}
			if n == 0 && database.of(args) == "" {
				return result{}, nobody("The name of the database is empty.")
			}
			if one && role.of(args) == "" { // it is not that of all
				return result{}, nobody("The name of the role is empty.")
			}
			return s.kill(ctx, r, n, database.of(args), role.of(args))
		},
	}, nil
}

func (s *session) kill(ctx context.Context, r result, number uint64, database, role string) (result, error) {
	if s.Roster == nil {
		return r, errNotHere
	}
	n, err := s.Roster.Kill(ctx, number, database, role)
	r.said += ", " + strconv.Itoa(n) + " ended"
	switch {
	case err != nil:
		return r, errNoPools(err)
	case n == 0:
		return r, nobody("No client is connected that it names.")
	}
	r.rows = [][]any{{int64(n)}}
	return r, nil
}

func nobody(why string) error {
	return &claimpool.Error{Code: claimpool.CodeUndefinedObject, Message: "there is no such client", Detail: why}
}
