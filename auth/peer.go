package auth

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"

	"github.com/claimpool/claimpool"
)

// peer takes the word of the operating system for who the client is (client authentication, "Peer Authentication").
func (x *exchange) peer() (*claimpool.Identity, error) {
	if !x.req.Unix || x.req.Peer == nil {
		return nil, errors.New("the client has not come through a unix socket that tells its user")
	}
	over := x.waiting() // it may ask a directory
	u, err := user.LookupId(strconv.FormatUint(uint64(*x.req.Peer), 10))
	over()
	if err != nil {
		return nil, fmt.Errorf("find the name of the client's user: %w", err)
	}
	if !x.rule.Map.allows(u.Username, x.req.User) {
		return nil, fmt.Errorf("the user %q of this machine may not be the requested one", u.Username)
	}
	role, err := x.role()
	if err != nil {
		return nil, err
	}
	return claimpool.NewIdentity(claimpool.MethodPeer, "", u.Username, role, nil, nil, noEnd), nil
}
