package extension_test

import (
	"context"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

type proxyKey struct {
	kid     string
	private *ecdh.PrivateKey
}

func newProxyKey(t testing.TB, kid string) proxyKey {
	t.Helper()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return proxyKey{kid, private}
}

func (k proxyKey) setting() string {
	return k.kid + ":" + base64.RawURLEncoding.EncodeToString(k.private.PublicKey().Bytes())
}

// grant is the argument of switch(), see PROTOCOL.md.
type grant struct {
	version, flags, following byte

	kid      string
	counter  uint64
	expires  int64
	identity [32]byte
	claims   string
}

const (
	flagSession = 1
	flagReset   = 2
)

func (g grant) bytes(key []byte) []byte {
	b := []byte{g.version, g.flags, g.following, byte(len(g.kid))}
	b = append(b, g.kid...)
	b = binary.BigEndian.AppendUint64(b, g.counter)
	b = binary.BigEndian.AppendUint64(b, uint64(g.expires))
	b = append(b, g.identity[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(g.claims)))
	b = append(b, g.claims...)
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	return mac.Sum(b)
}

// client is one connection, with the proxy's half of the native dialect.
type client struct {
	t                   testing.TB
	fe                  *pgproto3.Frontend
	pid                 uint32
	challenge, switcher uint32 // OIDs
	challenged          []byte
	key                 []byte
	counter             uint64
	kid                 string
}

func (s *server) login(t testing.TB, user string, settings ...string) *client {
	t.Helper()
	c, err := s.tryLogin(t, user, settings...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *server) tryLogin(t testing.TB, user string, settings ...string) (*client, error) {
	password := user
	if user == "postgres" {
		password = ""
	}
	config, err := pgconn.ParseConfig(s.DSN("postgres", user, password))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(settings); i += 2 {
		if settings[i] == "database" {
			config.Database = settings[i+1]
			continue
		}
		config.RuntimeParams[settings[i]] = settings[i+1]
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hijacked.Conn.Close() })
	return &client{t: t, fe: hijacked.Frontend, pid: hijacked.PID, kid: "k1"}, nil
}

// reply is everything until ReadyForQuery, or until the connection died.
type reply struct {
	rows    [][]string
	results [][]byte // of function calls
	errors  []*pgproto3.ErrorResponse
	notices []string
	dead    bool
	status  byte
}

func (r reply) code() string {
	if len(r.errors) == 0 {
		return ""
	}
	return r.errors[0].Code
}

func (c *client) receive() reply {
	var r reply
	for {
		message, err := c.fe.Receive()
		if err != nil {
			r.dead = true
			return r
		}
		switch m := message.(type) {
		case *pgproto3.DataRow:
			row := make([]string, len(m.Values))
			for i, v := range m.Values {
				row[i] = string(v)
				if v == nil {
					row[i] = "NULL"
				}
			}
			r.rows = append(r.rows, row)
		case *pgproto3.FunctionCallResponse:
			r.results = append(r.results, append([]byte(nil), m.Result...))
		case *pgproto3.ErrorResponse:
			e := *m
			r.errors = append(r.errors, &e)
		case *pgproto3.NoticeResponse:
			r.notices = append(r.notices, m.Message)
		case *pgproto3.ReadyForQuery:
			r.status = m.TxStatus
			return r
		}
	}
}

func (c *client) send(messages ...pgproto3.FrontendMessage) {
	for _, m := range messages {
		c.fe.Send(m)
	}
	if err := c.fe.Flush(); err != nil {
		c.t.Logf("send: %v", err) // the reading side says what it means
	}
}

func (c *client) exec(sql string) reply {
	c.send(&pgproto3.Query{String: sql})
	return c.receive()
}

func (c *client) mustExec(sql string) reply {
	c.t.Helper()
	r := c.exec(sql)
	if r.dead || len(r.errors) > 0 {
		c.t.Fatalf("%s: %s", sql, describe(r))
	}
	return r
}

func describe(r reply) string {
	text := fmt.Sprintf("rows %v", r.rows)
	for _, e := range r.errors {
		text += fmt.Sprintf(", %s %s: %s", e.Severity, e.Code, e.Message)
	}
	if r.dead {
		text += ", connection closed"
	}
	return text
}

// one returns the only value of a query.
func (c *client) one(sql string) string {
	c.t.Helper()
	r := c.mustExec(sql)
	if len(r.rows) != 1 || len(r.rows[0]) != 1 {
		c.t.Fatalf("%s: %v", sql, r.rows)
	}
	return r.rows[0][0]
}

func call(oid uint32, args ...[]byte) *pgproto3.FunctionCall {
	return &pgproto3.FunctionCall{Function: oid, ArgFormatCodes: []uint16{1}, Arguments: args, ResultFormatCode: 1}
}

// oids asks on another connection, as the proxy does: behind the gate nothing can be asked.
func (c *client) oids(s *server) {
	c.t.Helper()
	if c.challenge != 0 {
		return
	}
	admin := s.login(c.t, "postgres")
	fmt.Sscan(admin.one("select 'claimpool.challenge()'::regprocedure::oid"), &c.challenge)
	fmt.Sscan(admin.one("select 'claimpool.switch(bytea)'::regprocedure::oid"), &c.switcher)
}

// establish asks for the challenge and derives the session key.
func (c *client) establish(s *server, key proxyKey) {
	c.t.Helper()
	c.oids(s)
	c.send(call(c.challenge))
	r := c.receive()
	if len(r.results) != 1 || len(r.results[0]) != 62 {
		c.t.Fatalf("challenge: %s, %d results", describe(r), len(r.results))
	}
	c.challenged, c.kid = r.results[0], key.kid
	sessionKey, err := derive(r.results[0], key)
	if err != nil {
		c.t.Fatal(err)
	}
	c.key = sessionKey
}

func derive(challenge []byte, key proxyKey) ([]byte, error) {
	if challenge[0] != 1 {
		return nil, errors.New("unknown version of the challenge")
	}
	backend, salt := challenge[1:33], challenge[33:61]
	public, err := ecdh.X25519().NewPublicKey(backend)
	if err != nil {
		return nil, err
	}
	secret, err := key.private.ECDH(public)
	if err != nil {
		return nil, err
	}
	info := "claimpool native x25519 v1\x00" + string(backend) + string(key.private.PublicKey().Bytes()) + key.kid
	return hkdf.Key(sha256.New, secret, salt, info, 32)
}

// next makes a grant for a tenant that the backend will accept.
func (c *client) next(tenant string) grant {
	c.counter++
	return grant{
		version: 1, kid: c.kid, counter: c.counter, expires: time.Now().Add(time.Hour).UnixMilli(),
		identity: sha256.Sum256([]byte(tenant)), claims: fmt.Sprintf(`{"tenant":%q,"sub":"user of %s"}`, tenant, tenant),
	}
}

func (c *client) handOver(g grant) reply {
	c.send(call(c.switcher, g.bytes(c.key)))
	return c.receive()
}

// become hands the connection to a tenant, which must work.
func (c *client) become(tenant string) {
	c.t.Helper()
	if r := c.handOver(c.next(tenant)); r.dead || len(r.errors) > 0 {
		c.t.Fatalf("switch to %s: %s", tenant, describe(r))
	}
}

// pooled is a connection of the role pool, with its session key.
func (s *server) pooled(t testing.TB) *client {
	t.Helper()
	c := s.login(t, "pool")
	c.establish(s, s.key)
	return c
}
