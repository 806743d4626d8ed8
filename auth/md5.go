package auth

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// errPassword is the reason of every wrong password.
var errPassword = errors.New("the password is wrong")

// errUnknown is the reason when there is no such user; it stays in the log.
var errUnknown = errors.New("there is no such user with a password")

// md5 runs the exchange of protocol 3.0: the client sends "md5" and md5(md5(password user) salt) in hexadecimal
// (protocol-flow, AuthenticationMD5Password).
func (x *exchange) md5(s stored, known bool) (*claimpool.Identity, error) {
	var salt [4]byte
	if _, err := io.ReadFull(x.auth.rand, salt[:]); err != nil {
		return nil, fmt.Errorf("make salt: %w", err)
	}
	if err := x.send(wire.AppendAuthMD5(nil, salt)); err != nil {
		return nil, err
	}
	got, err := x.receivePassword()
	if err != nil {
		return nil, err
	}
	defer got.Clear()
	sum := md5.Sum(append(s.md5Hex(x.req.User), salt[:]...))
	want := hex.AppendEncode([]byte("md5"), sum[:])
	equal := subtle.ConstantTimeCompare(got, want) == 1
	switch {
	case !known:
		return nil, errUnknown
	case !equal:
		return nil, errPassword
	}
	return x.identity(claimpool.MethodMD5)
}
