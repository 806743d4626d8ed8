package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/keyset"
)

// person is somebody with a token.
type person struct {
	name, tenant string
	conn         *pgx.Conn
	backend      string // the server process that answered last
}

// story plays the transcript. Every step says what it does, shows what came back, and checks it.
func (d *demo) story() error {
	ada, bob := &person{name: "ada", tenant: "acme"}, &person{name: "bob", tenant: "globex"}
	for _, p := range []*person{ada, bob} {
		if err := d.logIn(p); err != nil {
			return err
		}
		defer p.conn.Close(context.WithoutCancel(d.ctx))
	}
	d.say("Each sees the invoices of the own tenant. There is no WHERE in the query: the policy reads the claims.")
	d.rows(ada, "SELECT * FROM invoice ORDER BY id", "1 2")
	d.rows(bob, "SELECT * FROM invoice ORDER BY id", "3 4 5")

	d.say("Both were served by the same server connection, in turn:")
	for _, p := range []*person{ada, bob, ada, bob} {
		d.rows(p, "SELECT jwt('tenant_id') AS tenant, count(*) FROM invoice", p.tenant)
	}
	d.check(ada.backend != "" && ada.backend == bob.backend, "one PostgreSQL process, %s, for both", ada.backend)

	d.say("Bob tries to change who he is. He may run any SQL, but the claims carry a seal that only the proxy can make.")
	d.refused(bob, `SET claimpool.context = '{"tenant_id":"acme"}'; SELECT * FROM invoice`, "28000")
	d.refused(bob, `SELECT set_config('claimpool.context', replace(current_setting('claimpool.context'), 'globex', 'acme'), false);
SELECT * FROM invoice`, "28000")
	d.refused(bob, "SELECT * FROM claimpool.keys", "42501")
	d.refused(bob, "INSERT INTO invoice VALUES (6, 'acme', 'a gift from Bob', 1)", "42501")
	d.rows(bob, "UPDATE invoice SET amount = 0 WHERE tenant_id = 'acme' RETURNING id", "")

	d.say("None of that has touched Ada, who shares the server connection with him:")
	d.rows(ada, "SELECT * FROM invoice ORDER BY id", "1 2")

	d.say("Tokens that must not work. The client reads one and the same answer; the reason is in the proxy's log.")
	mallory := map[string]any{"sub": "mallory", "tenant_id": "acme"}
	d.turnedAway("signed with another key", d.mint(d.forger, mallory, time.Hour))
	d.turnedAway("expired a minute ago", d.mint(d.issuer, mallory, -time.Minute))
	d.turnedAway("with another tenant written into it", tamper(d.mint(d.issuer, map[string]any{"sub": "bob", "tenant_id": "globex"}, time.Hour)))
	return nil
}

func (d *demo) say(text string) {
	d.step++
	fmt.Fprintf(d.out, "\n%d. %s\n", d.step, text)
}

func (d *demo) check(ok bool, format string, args ...any) {
	mark := "ok   "
	if !ok {
		mark = "WRONG"
		d.wrong++
	}
	fmt.Fprintf(d.out, "   %s %s\n", mark, fmt.Sprintf(format, args...))
}

// mint makes a token as the issuer (or a forger) would.
func (d *demo) mint(by *keyset.Pair, claims map[string]any, life time.Duration) string {
	now := d.env.now()
	all := map[string]any{"iss": demoIssuer, "aud": "invoices", "iat": now.Unix() - 120, "exp": now.Add(life).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	token, err := by.Signer.Sign(mustJSON(all))
	if err != nil {
		return ""
	}
	return string(token)
}

// tamper changes the payload and keeps the signature.
func tamper(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return token
	}
	return parts[0] + "." + changeTenant(parts[1]) + "." + parts[2]
}

func (d *demo) connect(password string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=localhost port=%d dbname=app user=%s sslmode=disable", d.port, d.role))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(d.path("proxy.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	cfg.TLSConfig = &tls.Config{RootCAs: roots, ServerName: "localhost"}
	cfg.Host, cfg.Fallbacks = "127.0.0.1", nil
	cfg.Password = password
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	ctx, cancel := context.WithTimeout(d.ctx, 20*time.Second)
	defer cancel()
	return pgx.ConnectConfig(ctx, cfg)
}

func (d *demo) logIn(p *person) (err error) {
	token := d.mint(d.issuer, map[string]any{"sub": p.name, "tenant_id": p.tenant}, time.Hour)
	d.say(fmt.Sprintf("%s logs in with a token as the password. It says: sub=%s, tenant_id=%s", strings.ToUpper(p.name[:1])+p.name[1:], p.name, p.tenant))
	if err := os.WriteFile(d.path(p.name+".token"), []byte(token+"\n"), 0o644); err != nil {
		return err
	}
	p.conn, err = d.connect(token)
	d.check(err == nil, "logged in over TLS")
	return err
}

// rows runs a query and shows the answer; want are the values of its first column.
func (d *demo) rows(p *person, sql, want string) {
	fmt.Fprintf(d.out, "   %s=> %s\n", p.name, sql)
	results, err := p.conn.PgConn().Exec(d.ctx, sql+"; SELECT pg_catalog.pg_backend_pid()").ReadAll()
	if err != nil {
		d.check(false, "%v", err)
		return
	}
	first := results[0]
	d.table(first)
	var got []string
	for _, row := range first.Rows {
		got = append(got, string(row[0]))
	}
	p.backend = string(results[len(results)-1].Rows[0][0])
	if strings.Join(got, " ") != want {
		d.check(false, "expected %q", want)
	}
	if len(first.Rows) == 0 {
		d.check(want == "", "nothing: no row of another tenant can be reached")
	}
}

func (d *demo) table(r *pgconn.Result) {
	for _, row := range r.Rows {
		var cells []string
		for i, cell := range row {
			cells = append(cells, fmt.Sprintf("%s %s", r.FieldDescriptions[i].Name, cell))
		}
		fmt.Fprintf(d.out, "       %s\n", strings.Join(cells, "   "))
	}
}

// refused runs what must fail with the given SQLSTATE, in a transaction that is rolled back.
func (d *demo) refused(p *person, sql, code string) {
	fmt.Fprintf(d.out, "   %s=> %s\n", p.name, strings.ReplaceAll(sql, "\n", "\n         "))
	_, err := p.conn.PgConn().Exec(d.ctx, "BEGIN; "+sql).ReadAll()
	p.conn.PgConn().Exec(d.ctx, "ROLLBACK").ReadAll()
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		d.check(false, "this must have failed: %v", err)
		return
	}
	d.check(refusal.Code == code, "ERROR %s: %s", refusal.Code, refusal.Message)
}

// turnedAway tries to log in with a token that must not work.
func (d *demo) turnedAway(what, token string) {
	fmt.Fprintf(d.out, "   a token %s\n", what)
	conn, err := d.connect(token)
	var refusal *pgconn.PgError
	switch {
	case err == nil:
		conn.Close(d.ctx)
		d.check(false, "it was let in")
	case errors.As(err, &refusal):
		d.check(refusal.Code == "28P01", "FATAL %s: %s", refusal.Code, refusal.Message)
	default:
		d.check(false, "%v", err)
	}
}

// invite says how to go on by hand.
func (d *demo) invite() {
	fmt.Fprintf(d.out, "\nNow try it yourself, in another terminal (this one keeps everything running; Ctrl-C ends it):\n\n")
	for _, name := range []string{"ada", "bob"} {
		fmt.Fprintf(d.out, "  PGPASSWORD=$(cat %s) psql \"host=localhost port=%d dbname=app user=%s sslmode=verify-full sslrootcert=%s\"\n",
			d.path(name+".token"), d.port, d.role, d.path("proxy.crt"))
	}
	fmt.Fprintf(d.out, "\n  SELECT * FROM invoice;   SELECT jwt();   SET claimpool.context = 'x'; SELECT * FROM invoice;\n\n")
	fmt.Fprintf(d.out, "The proxy's log: %s\nIts configuration: %s\n", d.path("proxy.log"), d.path("claimpool.yaml"))
}
