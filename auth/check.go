package auth

import (
	"context"
	"errors"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// Check has a password judged by somebody else: an LDAP server, or PAM behind a socket. It gives the name by which that one knows the
// user, empty for the same. denied says that an error is that one's own answer, and not the lack of one.
type Check func(ctx context.Context, user string, password claimpool.Secret, address string) (name string, denied bool, err error)

// checked takes a password as it is, and has it judged. Whether the transport is fit for that was decided with the choice of the rule.
func (x *exchange) checked(ctx context.Context) (*claimpool.Identity, error) {
	if err := x.send(wire.AppendAuthCleartext(nil)); err != nil {
		return nil, err
	}
	password, err := x.receivePassword() // not an empty one: to LDAP that is a login as nobody, which succeeds (RFC 4513, section 5.1.2)
	if err != nil {
		return nil, err
	}
	defer password.Clear()
	role, err := x.role()
	if err != nil {
		return nil, err
	}
	name, denied, err := x.judgedBy(ctx, password)
	switch {
	case err != nil && denied:
		return nil, err
	case err != nil && ctx.Err() != nil:
		return nil, gone(err)
	case err != nil:
		return nil, &claimpool.Error{
			Code: claimpool.CodeCannotConnectNow, Message: "could not check the password", Hint: "Try again later.", Cause: err,
		}
	case name == "":
		name = x.req.User
	}
	return claimpool.NewIdentity(x.rule.Method, "", name, role, nil, nil, noEnd), nil
}

func (x *exchange) judgedBy(ctx context.Context, password claimpool.Secret) (name string, denied bool, err error) {
	if x.rule.Check == nil {
		return "", false, errors.New("nobody is there to ask")
	}
	address := ""
	if !x.req.Unix {
		address = x.req.Addr.Addr().Unmap().WithZone("").String()
	}
	defer x.waiting()()
	if err := x.tooLate(); err != nil {
		return "", true, err
	}
	return x.rule.Check(ctx, x.req.User, password, address)
}
