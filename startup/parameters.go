package startup

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// protocolOption is how the names of protocol options begin; all other parameters are for the session.
const protocolOption = "_pq_."

// maxName is the longest user or database name. PostgreSQL cuts names at 63 bytes, but the user may be a token's subject,
// for which OpenID Connect allows 255 characters. Names go into logs and errors, so there has to be an end.
const maxName = 255

// startup reads a StartupMessage.
func (g *greeter) startup(body []byte) error {
	version := versionOf(body)
	if version>>16 != wire.Version30>>16 {
		return &claimpool.Error{
			Code: claimpool.CodeFeatureNotSupported,
			Message: fmt.Sprintf("unsupported frontend protocol %d.%d: server supports 3.0 to %d.%d",
				version>>16, version&0xffff, newestVersion>>16, newestVersion&0xffff),
		}
	}
	s, err := wire.ParseStartup(body)
	if err != nil {
		return err
	}
	g.Startup.Version = min(version, newestVersion)
	for _, p := range s.Params {
		if !utf8.ValidString(p[0]) || !utf8.ValidString(p[1]) {
			return &claimpool.Error{
				Code: claimpool.CodeProtocolViolation, Message: "startup packet with a parameter that is not UTF-8",
			}
		}
		if strings.HasPrefix(p[0], protocolOption) {
			g.Unknown = append(g.Unknown, p[0]) // we know none
			continue
		}
		g.Startup.Params = append(g.Startup.Params, p)
	}
	g.Negotiate = version > newestVersion || len(g.Unknown) > 0
	return g.checkNames()
}

// checkNames checks the user and the database, and gives the latter its default.
func (g *greeter) checkNames() error {
	user, database := g.Startup.Get("user"), g.Startup.Get("database")
	if user == "" {
		return &claimpool.Error{
			Code: claimpool.CodeInvalidAuthorization, Message: "no PostgreSQL user name specified in startup packet",
		}
	}
	if len(user) > maxName || len(database) > maxName {
		return &claimpool.Error{
			Code: claimpool.CodeInvalidAuthorization, Message: fmt.Sprintf("user or database name longer than %d bytes", maxName),
		}
	}
	if database != "" {
		return nil
	}
	for i, p := range g.Startup.Params {
		if p[0] == "database" { // present but empty
			g.Startup.Params[i][1] = user
			return nil
		}
	}
	g.Startup.Params = append(g.Startup.Params, [2]string{"database", user})
	return nil
}
