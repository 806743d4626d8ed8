package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/database"
	"github.com/claimpool/claimpool/keyset"
)

// demo is the stage: a database, keys, a proxy.
type demo struct {
	env     *environment
	ctx     context.Context
	dir     string
	out     io.Writer
	dsn     *pgx.ConnConfig // as superuser
	role    string
	db      string
	port    int
	issuer  *keyset.Pair
	forger  *keyset.Pair
	service *service
	undo    []func()
	step    int
	wrong   int
}

//go:embed demo.sql
var demoSchema string

const demoIssuer = "https://id.example"

// close takes everything down, the newest first.
func (d *demo) close() {
	for i := len(d.undo) - 1; i >= 0; i-- {
		d.undo[i]()
	}
}

// prepare sets the stage, and says so as it goes.
func (d *demo) prepare(dsn string, port int) error {
	for _, step := range []struct {
		title string
		do    func() (string, error)
	}{
		{"a PostgreSQL server", func() (string, error) { return d.startServer(dsn) }},
		{"a database with invoices of two tenants under forced row-level security", d.makeDatabase},
		{"claimpool's functions in the database (claimpool db install)", d.install},
		{"the keys that sign tokens, and a certificate for the proxy", d.makeKeys},
		{"the proxy, with ONE server connection for everybody", func() (string, error) { return d.startProxy(port) }},
	} {
		fmt.Fprintf(d.out, "  ... %s\n", step.title)
		what, err := step.do()
		if err != nil {
			return fmt.Errorf("%s: %w", step.title, err)
		}
		if what != "" {
			fmt.Fprintf(d.out, "      %s\n", what)
		}
	}
	return nil
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

// startServer starts a private cluster, or takes the one that is given.
func (d *demo) startServer(dsn string) (what string, err error) {
	if dsn == "" {
		c, err := cluster.Start(d.ctx, cluster.Options{Settings: map[string]string{"log_statement": "all"}})
		if err != nil {
			return "", err
		}
		d.undo = append(d.undo, func() { c.Stop() })
		dsn, what = c.DSN("postgres", cluster.Superuser, ""), c.Installation.String()+", in "+c.Dir
	}
	if d.dsn, err = pgx.ParseConfig(dsn); err != nil {
		return "", usage("--dsn: %w", err)
	}
	suffix := make([]byte, 3)
	rand.Read(suffix)
	d.db, d.role = "claimpool_demo_"+hex.EncodeToString(suffix), "claimpool_demo_"+hex.EncodeToString(suffix)
	return what, nil
}

// admin runs something as superuser in a database.
func (d *demo) admin(name string, do func(context.Context, *pgx.Conn) error) error {
	cfg := d.dsn.Copy()
	if name != "" {
		cfg.Database = name
	}
	// Cleaning up must work after the context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), time.Minute)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return do(ctx, conn)
}

func (d *demo) run(name string, statements ...string) error {
	return d.admin(name, func(ctx context.Context, conn *pgx.Conn) error {
		for _, sql := range statements {
			if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *demo) makeDatabase() (string, error) {
	password := make([]byte, 16)
	rand.Read(password)
	secret := hex.EncodeToString(password)
	if err := os.WriteFile(d.path("role.password"), []byte(secret+"\n"), 0o600); err != nil {
		return "", err
	}
	if err := d.run("", "CREATE ROLE "+d.role+" LOGIN PASSWORD '"+secret+"'"); err != nil {
		return "", err
	}
	d.undo = append(d.undo, func() { d.run("", "DROP ROLE "+d.role) })
	if err := d.run("", "CREATE DATABASE "+d.db); err != nil {
		return "", err
	}
	d.undo = append(d.undo, func() { d.run("", "DROP DATABASE "+d.db+" WITH (FORCE)") })
	return "", nil
}

func (d *demo) install() (string, error) {
	err := d.admin(d.db, func(ctx context.Context, conn *pgx.Conn) error {
		plan, err := database.PlanInstall(ctx, conn, database.Options{})
		if err != nil {
			return err
		}
		key, err := plan.Run(ctx, conn)
		if err != nil {
			return err
		}
		return os.WriteFile(d.path("context.key"), key.File(), 0o600)
	})
	if err != nil {
		return "", err
	}
	d.undo = append(d.undo, func() {
		d.admin(d.db, func(ctx context.Context, conn *pgx.Conn) error {
			plan, err := database.PlanRemove(ctx, conn)
			if err == nil {
				_, err = plan.Run(ctx, conn)
			}
			return err
		})
	})
	return "policy: tenant_id = (SELECT jwt('tenant_id'))", d.run(d.db, strings.ReplaceAll(demoSchema, "demo_role", d.role))
}

// makeKeys makes the issuer's key, a forger's key of the same name, and a certificate for localhost.
func (d *demo) makeKeys() (what string, err error) {
	if d.issuer, err = keyset.Generate("ES256"); err != nil {
		return "", err
	}
	if d.forger, err = keyset.Generate("ES256"); err != nil {
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "claimpool demo"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	for _, f := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{
		{"issuer.pem", d.issuer.Public, 0o644},
		{"proxy.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644},
		{"proxy.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600},
	} {
		if err := os.WriteFile(d.path(f.name), f.data, f.mode); err != nil {
			return "", err
		}
	}
	return "", nil
}

// startProxy writes a configuration file, as anybody would, and serves it.
func (d *demo) startProxy(port int) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return "", err
		}
	}
	d.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil { // free again for the proxy, which follows at once
		return "", err
	}
	file := d.path("claimpool.yaml")
	if err := os.WriteFile(file, []byte(d.configuration()), 0o644); err != nil {
		return "", err
	}
	cfg, err := loadConfig(file)
	if err != nil {
		return "", err
	}
	log, err := os.Create(d.path("proxy.log"))
	if err != nil {
		return "", err
	}
	d.service = &service{env: d.env, path: file, level: new(slog.LevelVar)}
	d.service.log = newLogger(log, cfg.Log, d.service.level)
	if err := d.service.start(cfg); err != nil {
		return "", err
	}
	d.undo = append(d.undo, func() {
		d.service.proxy.Close()
		d.service.wg.Wait()
		log.Close()
	})
	return fmt.Sprintf("127.0.0.1:%d with TLS; its configuration is %s", d.port, file), nil
}

func (d *demo) configuration() string {
	host := net.JoinHostPort(d.dsn.Host, strconv.Itoa(int(d.dsn.Port)))
	if strings.HasPrefix(d.dsn.Host, "/") {
		host = fmt.Sprintf("%s:%d", d.dsn.Host, d.dsn.Port)
	}
	mode := "auto"
	if d.dsn.TLSConfig == nil {
		mode = "disable"
	} else if d.dsn.TLSConfig.InsecureSkipVerify {
		mode = "require"
	}
	return fmt.Sprintf(`listen: 127.0.0.1:%d
tls: {cert_file: proxy.crt, key_file: proxy.key}

issuers:
  demo:
    issuer: %s
    audience: invoices
    keys: issuer.pem
    role: {from: fixed, value: %s}   # whoever it is, this role serves them

rules:
  - {name: tokens, method: jwt}

databases:
  app:
    dbname: %s
    hosts: %s
    tls: %s
    password: {file: role.password}
    context: {dialect: sql, key_file: context.key}

pool: {mode: transaction, size: 1}
`, d.port, demoIssuer, d.role, d.db, host, mode)
}
