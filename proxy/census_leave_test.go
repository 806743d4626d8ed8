package proxy_test

import (
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/proxy"
	"github.com/claimpool/claimpool/wire"
)

// limitsOfClients are all of them, each with room for n.
func limitsOfClients(n int) map[string]func(*proxy.Limits) {
	return map[string]func(*proxy.Limits){
		"database": func(l *proxy.Limits) { l.ClientsPerDatabase = n },
		"role":     func(l *proxy.Limits) { l.ClientsPerRole = n },
		"identity": func(l *proxy.Limits) { l.ClientsPerIdentity = n },
		"address":  func(l *proxy.Limits) { l.ClientsPerAddress = n },
	}
}

const (
	tooManyClients = "E(53300 fatal) EOF"
	letIn          = "R Z(I)"
)

// TestAttackGoodbyeForMorePlaces: the attacker may have two connections. He says goodbye behind two requests and breaks off, so that the first
// answer finds nobody, and the second request still takes long: to have others work for him, too, and so on.
//
// Must: His place must be taken until the request is answered, whatever of the limits counts him, or until its server dies or is stopped; then he must have it again, once.
// Dialects: none
func TestAttackGoodbyeForMorePlaces(t *testing.T) {
	t.Parallel() // it waits
	for limit, change := range limitsOfClients(2) {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			f := startPlain(t, limits(change))
			stays, admin := f.login(t), f.cluster.Connect(t, "postgres", "postgres", "")
			value(t, admin, "SELECT pg_advisory_lock(2, hashtext('"+f.role+"'))::text")
			f.breakOff(t, admin, "SELECT pg_advisory_xact_lock(2, hashtext('"+f.role+"'))")
			f.full(t)
			value(t, admin, "SELECT pg_advisory_unlock(2, hashtext('"+f.role+"'))::text")
			f.roomForOne(t)

			f.breakOff(t, admin, "SELECT pg_sleep(100)")
			f.full(t)
			value(t, admin, "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity WHERE usename = '"+f.role+"' AND state = 'active'")
			f.roomForOne(t)
			stays.expect("SELECT 1", "T D(1) C(SELECT 1) Z(I)")
		})
	}
	t.Run("a request that takes too long", func(t *testing.T) {
		t.Parallel()
		f := startPlain(t, limits(func(l *proxy.Limits) { l.ClientsPerIdentity, l.TransactionTimeout = 2, 4*time.Second }))
		f.login(t)
		f.breakOff(t, f.cluster.Connect(t, "postgres", "postgres", ""), "SELECT pg_sleep(100)")
		f.roomForOne(t)
	})
}

// breakOff lets a client go behind two requests, in the middle of which it cannot be told the answer to the first.
func (f *plain) breakOff(t *testing.T, admin *pgx.Conn, query string) {
	t.Helper()
	value(t, admin, "SELECT pg_advisory_lock(1, hashtext('"+f.role+"'))::text")
	goes := f.login(t)
	both := wire.AppendQuery(wire.AppendQuery(nil, "SELECT pg_advisory_xact_lock(1, hashtext('"+f.role+"'))"), query)
	goes.send(wire.AppendTerminate(both))
	soon(t, "the first one waits", func() bool { return f.count(t, "wait_event = 'advisory'") == 1 })
	goes.Conn.(*net.TCPConn).SetLinger(0)
	goes.Close()
	value(t, admin, "SELECT pg_advisory_unlock(1, hashtext('"+f.role+"'))::text")
	soon(t, "he has left", func() bool { return f.Clients() == 1 })
}

func (f *plain) full(t *testing.T) {
	t.Helper()
	for range 3 {
		if got := f.dial(t).start(wire.Version30, f.role).answer(); got != tooManyClients {
			t.Errorf("one too many is told %s", got)
		}
	}
}

// roomForOne waits until there is room, and looks that it is for one. It is empty again afterwards.
func (f *plain) roomForOne(t *testing.T) {
	t.Helper()
	var p *peer
	soon(t, "there is room", func() bool {
		p = f.dial(t)
		return p.start(wire.Version30, f.role).answer() == letIn
	})
	f.full(t)
	p.leave()
	soon(t, "it is empty again", func() bool { return f.Clients() == 1 })
}
