package proxy

import (
	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/feature"
)

// maxSent is how much of a request is looked at for what it sends, as the relay does.
const maxSent = 8 << 10

// maySend reports whether a text sends notifications only where the client may. It is a guard against mistakes: a function can
// send unseen, so the boundary is on the side of those who listen.
func (c *client) maySend(sql []byte) bool {
	allowed := feature.Permit(c.pool.db.SendChannels, c.identity.Claims)
	for _, channel := range feature.Sent(sql) {
		if !allowed.Allows(channel) {
			return false
		}
	}
	return true
}

var errSend = &claimpool.Error{
	Code: claimpool.CodeInsufficientPrivileges, Message: "permission denied to send on channel",
	Hint: "Allow it with a template under databases.NAME.send_channels, such as tenant_${tenant_id}_*.",
}
