package proxy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

var noDeadline time.Time

// maxSettings is how many settings a client may bring: each one is a message at every hand-over to it.
const maxSettings = 64

// contextParameter is the parameter in which a client may bring a token on top of its password. It goes to nobody else.
const contextParameter = "jwt.context"

// clientSettings are the parameters that a client asks for at startup, directly or in "options". They follow the client
// to whatever server it gets, behind the trusted context. token is the one that it has brought; nil when there is none.
func clientSettings(s wire.Startup) (list [][2]string, token claimpool.Secret, err error) {
	add := func(name, value string) error {
		if strings.EqualFold(name, contextParameter) {
			token.Clear()
			token = nil
			if value != "" {
				token = claimpool.Secret(value)
			}
			return nil
		}
		if trusted.Packet(name) { // in "options": to a server it would say whom to log in, or where
			return &claimpool.Error{Code: claimpool.CodeUndefinedObject, Message: fmt.Sprintf("unrecognized configuration parameter %q", name)}
		}
		if trusted.Reserved(name) {
			return &claimpool.Error{
				Code: claimpool.CodeFeatureNotSupported, Message: fmt.Sprintf("parameter %q cannot be set at startup", name),
				Hint: "Leave it out: the proxy decides it.",
			}
		}
		list = append(list, [2]string{name, value})
		return nil
	}
	for _, kv := range s.Params {
		var err error
		switch name := strings.ToLower(kv[0]); name {
		case "user", "database", "replication":
		case "options":
			var opts [][2]string
			if opts, err = wire.ParseOptions(kv[1]); err == nil {
				for _, o := range opts {
					if err = add(o[0], o[1]); err != nil {
						break
					}
				}
			}
		default:
			err = add(kv[0], kv[1])
		}
		if err != nil {
			return nil, token, err
		}
	}
	if len(list) > maxSettings {
		return nil, token, &claimpool.Error{Code: claimpool.CodeProgramLimitExceeded, Message: "too many parameters at startup"}
	}
	return list, token, nil
}

// jitParameter asks for just-in-time access when it is "true" (Supavisor's options=--jit=true), where the database has it; elsewhere,
// and with other values, it is a setting of PostgreSQL's.
const jitParameter = "jit"

// askedForJIT takes the wish for just-in-time access out of a client's settings.
func (v *visitor) askedForJIT(a *auth.Authenticator, settings [][2]string) [][2]string {
	if !a.TakesJIT(v.request.Database) {
		return settings
	}
	return slices.DeleteFunc(settings, func(kv [2]string) bool {
		asked := strings.EqualFold(kv[0], jitParameter) && kv[1] == "true"
		v.request.JIT = v.request.JIT || asked
		return asked
	})
}

// ownValue is what a client is told of a reported parameter before it has a server: its own setting, when it brought one.
func ownValue(name, value string, settings [][2]string) string {
	for _, kv := range settings {
		if strings.EqualFold(kv[0], name) {
			value = kv[1]
			if strings.EqualFold(name, "DateStyle") && !strings.Contains(value, ",") {
				value += ", MDY" // PostgreSQL reports both halves
			}
		}
	}
	return value
}

// followed reports whether a change that a server reports is a setting of the client's, to be carried to its next server.
// The rest are facts about the server.
func followed(name string) bool {
	switch name {
	case "server_version", "server_encoding", "integer_datetimes", "is_superuser", "session_authorization",
		"in_hot_standby", "scram_iterations":
		return false
	}
	return true
}
