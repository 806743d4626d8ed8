package proxy

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

// Replication says who may have replication connections (protocol, Streaming Replication Protocol). Through one everything can be
// read, whatever policies say: a database and role of their own are for it.
type Replication string

// The answers. PostgreSQL has its own condition: the attribute REPLICATION of the role.
const (
	ReplicationRefuse Replication = "refuse"            // nobody; the same as nothing
	ReplicationAllow  Replication = "allow"             // clients without claims
	ReplicationAll    Replication = "allow-with-claims" // clients with claims, too
)

// stream is a replication connection: a server connection that is its client's alone, never in a pool. The bytes of both pass as they
// are.
type stream struct {
	visitor *visitor
	server  *server.Conn
	since   time.Time
	once    sync.Once
	reason  string
}

// replicationOf reads the startup parameter as PostgreSQL does: "database" for logical replication, or a boolean (unambiguous
// prefixes count) for physical. Empty: an ordinary connection.
func replicationOf(s wire.Startup) (value string, err error) {
	for _, kv := range s.Params {
		if !strings.EqualFold(kv[0], "replication") {
			continue
		}
		value, err = "", nil // the last one counts
		switch v := strings.ToLower(kv[1]); {
		case v == "database":
			value = "database"
		case v != "" && (strings.HasPrefix("true", v) || strings.HasPrefix("yes", v)) || v == "on" || v == "1":
			value = "true"
		case v != "" && (strings.HasPrefix("false", v) || strings.HasPrefix("no", v)) || v == "of" || v == "off" || v == "0":
		default:
			err = &claimpool.Error{
				Code: claimpool.CodeInvalidParameterValue, Message: fmt.Sprintf("invalid value for parameter %q: %q", "replication", kv[1]),
				Hint: `Valid values are: "false", 0, "true", 1, "database".`,
			}
		}
	}
	return value, err
}

// mayReplicate says why an identity may not have a replication connection; nil when it may.
func (db *Database) mayReplicate(id *claimpool.Identity) error {
	switch {
	case db.Replication == ReplicationAll:
		return nil
	case db.Replication != ReplicationAllow:
		return &claimpool.Error{
			Code: claimpool.CodeFeatureNotSupported, Message: "replication connections are not allowed",
			Hint: "Set databases.NAME.replication, or connect to PostgreSQL directly.",
		}
	case id.Claims != nil:
		return &claimpool.Error{
			Code: claimpool.CodeInsufficientPrivileges, Message: "replication connections are not allowed for clients with claims",
			Detail: "A replication connection sees all rows, whatever the claims of its client.",
			Hint:   "Log in without a token.",
		}
	}
	return nil
}

// signedOut reports whether the client has been signed out.
func (st *stream) signedOut() bool {
	v := st.visitor
	return v.proxy.revoked != nil && v.proxy.revoked.SignedOut(&v.identity.Proof, st.since)
}

// replicates gives the database of a visitor who may have a replication connection, as it is configured at this moment.
func (p *Proxy) replicates(v *visitor) (*Database, error) {
	db := p.config.Load().Databases[v.request.Database].at(v.target)
	if db == nil {
		return nil, errRemoved
	}
	return db, db.mayReplicate(v.identity)
}

// replicate is step 6 for a replication connection, and all that follows. It returns an error until the client has been let in, and
// then when everything is over.
func (v *visitor) replicate(ctx context.Context, cfg *Config, value string, settings [][2]string) error {
	db, err := v.proxy.replicates(v)
	if err != nil {
		return err
	}
	if err := v.sit(ofReplication, v.request.Database, max(1, db.MaxReplication), &claimpool.Error{
		Code: claimpool.CodeTooManyConnections, Message: "too many replication connections",
		Hint: "Raise databases.NAME.max_replication, or close connections that are not in use.",
	}); err != nil {
		return err
	}
	conn, reached, err := v.reachForReplication(ctx, db.Pool.QueueWait, value, settings)
	if err != nil {
		return err
	}
	v.forgetDeadline() // before anybody can end the stream, which sets another one
	st := &stream{visitor: v, server: conn, since: time.Now()}
	added := v.proxy.addStream(st)
	reached()
	if !added {
		conn.Close()
		return errStopping
	}
	defer v.proxy.removeStream(st)
	_, err = v.proxy.replicates(v) // a reload or a sign-out may have come between
	if err == nil && st.signedOut() {
		err = errSignedOut
	}
	if err != nil {
		conn.Close()
		return err
	}
	c := &client{number: v.number, identity: v.identity, stream: st, long: v.hello.Startup.Version != wire.Version30}
	v.proxy.keys.addAs(c, conn.PID())
	defer v.proxy.keys.remove(c)
	if err := v.Send(v.appendWelcome(wire.AppendAuthOK(nil), c, conn.Params, nil)); err != nil {
		conn.Close()
		return err
	}
	v.slot.quit()
	v.authenticated()
	st.run(cfg.Limits.TokenGrace)
	v.proxy.log.Info("connection closed", claimpool.LogClient, v.number, claimpool.LogPool, v.pool.name(),
		claimpool.LogIdentity, v.identity, claimpool.LogReason, st.reason, claimpool.LogHeld, time.Since(st.since).Round(time.Millisecond))
	v.recordEnd(st.reason, time.Since(st.since))
	v.proxy.leave(v.pool, v.identity)
	v.proxy.uncount(v.seats)
	return nil
}

// reachForReplication opens the server connection, in a pause behind its end. reached says that it is known, or of no use.
func (v *visitor) reachForReplication(ctx context.Context, wait time.Duration, value string, settings [][2]string) (conn *server.Conn, reached func(), err error) {
	defer v.slot.waiting()()
	reached, err = v.proxy.awaitResume(ctx, v.request.Database, wait)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			reached()
		}
	}()
	db, err := v.proxy.replicates(v) // a reload may have come between
	if err != nil {
		return nil, nil, err
	}
	way, err := db.Server(v.pool.key.role)
	if err != nil {
		return nil, nil, err
	}
	own := *way
	own.Startup = append(append([][2]string{{"replication", value}}, db.Parameters...), settings...)
	conn, err = server.Open(ctx, &own)
	return conn, reached, err
}

// run moves bytes until one side ends, the client's token does, or the proxy.
func (st *stream) run(grace time.Duration) {
	v := st.visitor
	if ends := v.identity.Expires; !ends.IsZero() {
		alarm := time.AfterFunc(time.Until(ends.Add(grace)), func() { st.end(errExpired.Message) })
		defer alarm.Stop()
	}
	stop := context.AfterFunc(v.proxy.ctx, func() { st.end(errStopping.Message) })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() {
		_, err := io.Copy(st.server.Conn, v.hello.Conn)
		st.end(ending("client closed the connection", err))
	})
	both.Go(func() {
		_, err := io.Copy(v.hello.Conn, st.server.Conn)
		st.end(ending("server ended the connection", err))
	})
	both.Wait()
	v.raw.Close()
}

func ending(what string, err error) string {
	if err != nil {
		return "connection lost: " + err.Error()
	}
	return what
}

// end closes the server connection, and lets the client see its end. The first reason counts.
func (st *stream) end(reason string) {
	st.once.Do(func() {
		st.reason = reason
		st.server.Close()
		v := st.visitor
		v.raw.SetDeadline(time.Now().Add(lastWords)) // for what is on its way to the client, and until it has seen the end
		if v.hello.TLS != nil {
			v.hello.TLS.CloseWrite()
		}
		if half, ok := v.raw.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	})
}

// addStream registers a replication connection, unless the proxy stops.
func (p *Proxy) addStream(st *stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return false
	}
	p.streams[st] = struct{}{}
	return true
}

func (p *Proxy) removeStream(st *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.streams, st)
}

// endStreams ends the replication connections that bad names. Nothing can be said in them: their messages are not looked at.
func (p *Proxy) endStreams(reason string, bad func(*stream) bool) {
	p.mu.Lock()
	var list []*stream
	for st := range p.streams {
		if bad(st) {
			list = append(list, st)
		}
	}
	p.mu.Unlock()
	for _, st := range list {
		go st.end(reason) // it may take a moment, and whoever asks may not wait
	}
}

// endStrayStreams ends those that a new configuration does not allow.
func (p *Proxy) endStrayStreams(cfg *Config) {
	p.endStreams("no longer allowed by the configuration", func(st *stream) bool {
		db := cfg.Databases[st.visitor.request.Database].at(st.visitor.target)
		return db == nil || db.mayReplicate(st.visitor.identity) != nil
	})
}

// cancel passes a cancel request on: a logical replication connection runs queries, too.
func (st *stream) cancel(ctx context.Context) {
	if err := st.server.Target.Cancel(ctx); err != nil {
		st.visitor.proxy.log.Debug("could not cancel", claimpool.LogServer, st.server.PID(), claimpool.LogErr, err.Error())
	}
}
