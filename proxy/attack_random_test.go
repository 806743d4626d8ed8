package proxy_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimpool/claimpool/wire"
)

// The random attack: who takes part, on how many servers.
const (
	identities    = 50
	randomServers = 3
)

// TestAttackRandomSQL: fifty tenants share three server connections and send random SQL in every form of the protocol, with
// errors, transactions, pipelines and COPY; they leave state behind, vanish in every phase, cancel their own requests and,
// by pg_cancel_backend, their neighbours', and some end their neighbours' server connections. Every row names whose it is.
//
// Must: Each row is the tenant's own and the answer to the question that is next; what was acknowledged was done once, what
// was refused was not done.
// Dialects: sql, native
// Not pgbouncer: it tells of everything that TestAttackLeftOverState leaves there, and the rest would drown in it
func TestAttackRandomSQL(t *testing.T) {
	eachTenants(t, randomServers, attackAtRandom)
}

// randomTime is how long the random attack goes on: ATTACK_TIME, or a few seconds.
func randomTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("ATTACK_TIME")
	if text == "" {
		return 4 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("ATTACK_TIME: %v", err)
	}
	return d
}

// randomSeed is what the SQL is made of: ATTACK_SEED, or another one every time.
func randomSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("ATTACK_SEED")
	if text == "" {
		return rand.Uint64()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("ATTACK_SEED: %v", err)
	}
	return n
}

func attackAtRandom(t *testing.T, f *tenants) {
	f.cluster.Exec(t, f.database, "CREATE TABLE did (nonce text, who text DEFAULT jwt('tenant_id')); GRANT SELECT, INSERT ON did TO "+f.role)
	seed, end := randomSeed(t), time.Now().Add(randomTime(t))
	t.Logf("ATTACK_SEED=%d", seed)
	var wg sync.WaitGroup
	all := make([]*roamer, identities)
	for i := range all {
		tenant := fmt.Sprintf("t%d", i)
		all[i] = &roamer{
			f: f, token: f.issuer.Mint("user-of-"+tenant, map[string]any{"tenant_id": tenant}), done: map[string]bool{}, refused: map[string]bool{},
			author: author{r: rand.New(rand.NewPCG(seed, uint64(i))), tenant: tenant, number: i, rogue: i%10 == 0},
		}
	}
	for _, m := range all {
		wg.Go(func() {
			err := m.roam(end)
			for err == nil && m.rows == 0 && time.Since(end) < patience { // a busy machine is slow
				err = m.roam(time.Now().Add(time.Second))
			}
			if err != nil {
				t.Errorf("tenant %s: %v", m.tenant, err)
			}
		})
	}
	wg.Wait()
	var sum roamer
	for _, m := range all {
		sum.rows, sum.errors, sum.lives = sum.rows+m.rows, sum.errors+m.errors, sum.lives+m.lives
		if m.rows == 0 {
			t.Errorf("tenant %s has seen no row", m.tenant)
		}
	}
	t.Logf("%d rows, %d errors, %d connections", sum.rows, sum.errors, sum.lives)
	f.atRest(t, 0, randomServers)
	checkDeeds(t, f, all)
}

// checkDeeds compares what the tenants were told with what was done.
func checkDeeds(t *testing.T, f *tenants, all []*roamer) {
	t.Helper()
	rows, err := f.admin(t).Query(t.Context(), "SELECT nonce, coalesce(who, 'nobody'), count(*) FROM did GROUP BY 1, 2")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	there := map[string]bool{}
	for rows.Next() {
		var nonce, who string
		var n int
		if err := rows.Scan(&nonce, &who, &n); err != nil {
			t.Fatal(err)
		}
		if owner, _, _ := strings.Cut(nonce, "."); owner != who || n != 1 || there[nonce] {
			t.Errorf("%s was done %d times, by %s", nonce, n, who)
		}
		there[nonce] = true
	}
	for _, m := range all {
		for nonce := range m.done {
			if !there[nonce] {
				t.Errorf("%s was acknowledged and not done", nonce)
			}
		}
		for nonce := range m.refused {
			if there[nonce] {
				t.Errorf("%s was refused and done all the same", nonce)
			}
		}
	}
	t.Logf("%d deeds, %d acknowledged at once", len(there), func() (n int) {
		for _, m := range all {
			n += len(m.done)
		}
		return n
	}())
}

// roamer is a tenant of the random attack.
type roamer struct {
	author
	f       *tenants
	token   string
	conn    net.Conn
	in      *bufio.Reader
	pid     uint32
	secret  []byte
	status  byte
	done    map[string]bool // nonces of what was acknowledged outside of a transaction
	refused map[string]bool

	rows, errors, lives int
}

// roam asks until the end, and comes back whenever its connection has ended.
func (m *roamer) roam(end time.Time) error {
	for time.Now().Before(end) {
		if m.conn == nil {
			if err := m.login(); err != nil {
				return fmt.Errorf("log in: %w", err)
			}
		}
		alive, err := m.turn()
		if err != nil {
			return err
		}
		if !alive {
			m.conn.Close()
			m.conn = nil
		}
	}
	if m.conn != nil {
		m.conn.Write(wire.AppendTerminate(nil))
		m.conn.Close()
		m.conn = nil
	}
	return nil
}

func (m *roamer) login() error {
	raw, err := net.Dial("tcp", m.f.Address())
	if err != nil {
		return err
	}
	raw.SetDeadline(time.Now().Add(2 * patience))
	if _, err := raw.Write(wire.AppendSSLRequest(nil)); err != nil {
		return err
	}
	var yes [1]byte
	if _, err := raw.Read(yes[:]); err != nil {
		return err
	}
	m.conn = tls.Client(raw, &tls.Config{RootCAs: m.f.CA.Pool, ServerName: "localhost", NextProtos: []string{"postgresql"}})
	m.in = bufio.NewReader(m.conn)
	b := wire.AppendStartup(nil, wire.Version30, [][2]string{{"user", m.f.role}, {"database", m.f.database}})
	if _, err := m.conn.Write(append(b, wire.AppendPassword(nil, []byte(m.token))...)); err != nil {
		return err
	}
	m.lives++
	for {
		typ, body, err := wire.ReadMessage(m.in, 1<<20)
		switch {
		case err != nil:
			return err
		case typ == wire.MsgErrorResponse:
			fields, _ := wire.ParseError(body)
			return fields.ClaimpoolError()
		case typ == wire.MsgBackendKeyData:
			m.pid, m.secret, _ = wire.ParseBackendKeyData(body)
		case typ == wire.MsgReadyForQuery:
			m.status = wire.StatusIdle
			return nil
		}
	}
}

// turn sends something and takes the answers, or vanishes in the middle of it. It reports whether the connection is still there.
func (m *roamer) turn() (alive bool, err error) {
	list := m.requests(m.status)
	var b []byte
	for _, q := range list {
		b = append(b, q.bytes...)
	}
	m.conn.SetDeadline(time.Now().Add(2 * patience))
	vanish := -1 // after so many messages of the answer
	switch m.r.IntN(40) {
	case 0: // in the middle of a message
		m.conn.Write(b[:m.r.IntN(len(b))])
		return false, nil
	case 1: // with a goodbye behind it
		m.conn.Write(wire.AppendTerminate(b))
		return false, nil
	case 2:
		vanish = m.r.IntN(5)
	case 3:
		pid, secret := m.pid, m.secret
		time.AfterFunc(m.nap(), func() { cancelOnce(m.f, pid, secret) })
	}
	if _, err := m.conn.Write(b); err != nil {
		return false, nil // ended by a neighbour
	}
	for _, q := range list {
		if alive, err := m.answer(q, &vanish); !alive || err != nil {
			return false, err
		}
	}
	return true, nil
}

// answer reads the answer to one request.
func (m *roamer) answer(q request, vanish *int) (alive bool, err error) {
	before, failed, next := m.status, false, 0
	for {
		if *vanish == 0 {
			return false, nil
		}
		*vanish--
		typ, body, err := wire.ReadMessage(m.in, 1<<20)
		if err != nil {
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				return false, fmt.Errorf("no answer to %s", q.what)
			}
			return false, nil
		}
		switch typ {
		case wire.MsgDataRow:
			row, err := wire.ParseDataRow(body)
			if err != nil {
				return false, err
			}
			err = m.own(row, q, &next)
			if err != nil {
				return false, err
			}
		case wire.MsgCopyData:
			if err := m.own(strings.Split(strings.TrimSuffix(string(body), "\n"), "\t"), q, &next); err != nil {
				return false, err
			}
		case wire.MsgCopyInResponse:
			m.sendCopy(q)
		case wire.MsgNotificationResponse:
			return false, errors.New("a notification in transaction mode")
		case wire.MsgErrorResponse:
			m.errors++
			failed = true
			fields, _ := wire.ParseError(body)
			if code := fields.Code; code == "XX000" || strings.HasPrefix(code, "08P") || strings.Contains(fields.Message, "synchron") {
				return false, fmt.Errorf("%s is answered %s: %s", q.what, code, fields.Message)
			}
		case wire.MsgReadyForQuery:
			m.status = body[0]
			m.judge(q, before, failed)
			return true, nil
		}
	}
}

// own looks whether a row is the tenant's, and the answer to what is next.
func (m *roamer) own(row []string, q request, next *int) error {
	if len(row) == 0 {
		return nil
	}
	m.rows++
	for *next < len(q.what) && q.what[*next].nonce != row[0] {
		*next++
	}
	if *next == len(q.what) {
		return fmt.Errorf("%s is answered %q", q.what, row)
	}
	for _, who := range row[1:] {
		if who != m.tenant && who != "0" && who != "" {
			return fmt.Errorf("%s shows rows of %s: %q", q.what, who, row)
		}
	}
	return nil
}

func (m *roamer) sendCopy(q request) {
	b := wire.AppendCopyData(nil, []byte(q.what[0].nonce+"\n"))
	switch m.r.IntN(4) {
	case 0:
		b = wire.AppendCopyFail(b, "changed my mind")
	case 1:
		b = wire.AppendCopyDone(wire.AppendCopyData(b[:0:0], []byte(q.what[0].nonce+"\n")))
	default:
		b = wire.AppendCopyDone(b)
	}
	m.conn.Write(b)
}

// judge notes what is certain about the deeds of a request that was no part of a transaction.
func (m *roamer) judge(q request, before byte, failed bool) {
	if before != wire.StatusIdle || m.status != wire.StatusIdle {
		return
	}
	for _, s := range q.what {
		switch {
		case !s.writes && !s.copies:
		case failed:
			m.refused[s.nonce] = true
		default:
			m.done[s.nonce] = true
		}
	}
}
