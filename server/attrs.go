package server

import (
	"errors"
	"fmt"
)

// Attrs says which of several servers will do: libpq's target_session_attrs, with its meaning (libpq, "Parameter Key Words").
type Attrs string

// The session attributes.
const (
	AttrsAny           Attrs = "any"            // every server; the same as none at all
	AttrsReadWrite     Attrs = "read-write"     // no standby, and transactions may write by default
	AttrsReadOnly      Attrs = "read-only"      // a standby, or transactions may not write by default
	AttrsPrimary       Attrs = "primary"        // no standby
	AttrsStandby       Attrs = "standby"        // a standby
	AttrsPreferStandby Attrs = "prefer-standby" // a standby; any server when there is none
)

// Balance says in which order servers are tried.
type Balance string

// The orders. The first two are libpq's (load_balance_hosts), the third is PgBouncer's.
const (
	BalanceDisable    Balance = "disable"     // as they are written; the same as nothing
	BalanceRandom     Balance = "random"      // anew for each connection
	BalanceRoundRobin Balance = "round-robin" // each connection begins one further
)

// nature is what a server says of itself at login (PostgreSQL 14 and later report both parameters).
type nature struct {
	known    bool
	standby  bool // in_hot_standby
	readOnly bool // default_transaction_read_only
}

// natureOf reads the reported parameters.
func natureOf(params [][2]string) (n nature) {
	for _, kv := range params {
		switch kv[0] {
		case "in_hot_standby":
			n.known, n.standby = true, kv[1] == "on"
		case "default_transaction_read_only":
			n.readOnly = kv[1] == "on"
		}
	}
	return n
}

// word describes a server for the log.
func (n nature) word() string {
	switch {
	case !n.known:
		return "unknown"
	case n.standby:
		return "standby"
	case n.readOnly:
		return "read-only primary"
	}
	return "primary"
}

// fits reports whether a server has the attributes. prefer-standby: the ones that it prefers.
func (a Attrs) fits(n nature) bool {
	switch a {
	case AttrsReadWrite:
		return n.known && !n.standby && !n.readOnly
	case AttrsReadOnly:
		return n.known && (n.standby || n.readOnly)
	case AttrsPrimary:
		return n.known && !n.standby
	case AttrsStandby, AttrsPreferStandby:
		return n.known && n.standby
	}
	return true
}

func (a Attrs) any() bool { return a == "" || a == AttrsAny }

func (a Attrs) check() error {
	switch a {
	case "", AttrsAny, AttrsReadWrite, AttrsReadOnly, AttrsPrimary, AttrsStandby, AttrsPreferStandby:
		return nil
	}
	return fmt.Errorf("unknown session attributes %q", string(a))
}

func (b Balance) check() error {
	switch b {
	case "", BalanceDisable, BalanceRandom, BalanceRoundRobin:
		return nil
	}
	return fmt.Errorf("unknown order of hosts %q", string(b))
}

// misfit is a server that has logged us in and is not of the kind that is wanted.
type misfit struct {
	attrs  Attrs
	nature nature
}

func (m *misfit) Error() string {
	if !m.nature.known {
		return `the server does not report "in_hot_standby" (PostgreSQL 14 and later do), so nobody can tell whether it is ` + string(m.attrs)
	}
	return fmt.Sprintf("the server is a %s, and target_session_attrs is %s", m.nature.word(), m.attrs)
}

// errMisfit reports whether an error is that of a server of the wrong kind.
func errMisfit(err error) bool { return errors.As(err, new(*misfit)) }
