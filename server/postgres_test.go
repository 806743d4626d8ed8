package server_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/server"
	"github.com/claimpool/claimpool/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// roles of the test cluster: each has a way to log in of its own.
const roles = `
set password_encryption = 'scram-sha-256';
create role r_scram login password 'secret one';
create role r_clear login password 'secret one';
create role r_trust login;
create role r_cert login;
create role "odd ""name" login password 'pässwörd, ½';
set password_encryption = 'md5';
create role r_md5 login password 'secret one';
`

const hba = `
local     all postgres scram-sha-256
host      all postgres 127.0.0.1/32 scram-sha-256
local     all r_trust  trust
local     all r_clear  password
local     all all      scram-sha-256
host      all r_trust  127.0.0.1/32 trust
host      all r_clear  127.0.0.1/32 password
host      all r_md5    127.0.0.1/32 md5
hostssl   all r_cert   127.0.0.1/32 cert
host      all all      127.0.0.1/32 scram-sha-256
`

// startCluster starts a cluster with the roles. Its certificate is for the name localhost alone.
func startCluster(t *testing.T, inst cluster.Installation, ca *pgtest.CA) *pgtest.Cluster {
	t.Helper()
	cert := ca.Server(t, "localhost")
	c := pgtest.Start(t, inst, pgtest.WithTLS(t, ca), pgtest.WithHBA(hba),
		pgtest.WithFile("server.crt", cert.CertPEM), pgtest.WithFile("server.key", cert.KeyPEM))
	c.Exec(t, "postgres", roles)
	return c
}

func password(s string) func(context.Context) (claimpool.Secret, error) {
	return func(context.Context) (claimpool.Secret, error) { return claimpool.Secret(s), nil }
}

// config is a plain way to the cluster for a role.
func config(c *pgtest.Cluster, role string) *server.Config {
	return &server.Config{
		Hosts: []string{c.Address()}, Database: "postgres", Role: role, Password: password("secret one"),
		TLS: server.TLS{Mode: server.ModeDisable}, ConnectTimeout: 10 * time.Second,
	}
}

// code opens a connection and gives "ok", or the SQLSTATE of the error.
func code(t *testing.T, cfg *server.Config) (result string, err error) {
	t.Helper()
	c, err := server.Open(t.Context(), cfg)
	if err == nil {
		if got := query(t, c, "select current_user"); got != cfg.Role {
			t.Errorf("current_user is %q", got)
		}
		return "ok", c.Close()
	}
	var e *claimpool.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *claimpool.Error", err)
	}
	return string(e.Code), err
}

// query runs a statement and gives the first column of its first row, or the SQLSTATE of its error.
func query(t *testing.T, c *server.Conn, sql string) (value string) {
	t.Helper()
	if _, err := c.Conn.Write(wire.AppendQuery(nil, sql)); err != nil {
		t.Fatal(err)
	}
	for {
		typ, body, err := wire.ReadMessage(c.Conn, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		switch typ {
		case wire.MsgDataRow:
			value = string(body[6:])
		case wire.MsgErrorResponse:
			fields, err := wire.ParseError(body)
			if err != nil {
				t.Fatal(err)
			}
			value = fields.Code
		case wire.MsgReadyForQuery:
			return value
		}
	}
}

// TestPostgres runs everything that needs a real server, on one cluster per version.
func TestPostgres(t *testing.T) {
	ca := pgtest.NewCA(t)
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := startCluster(t, inst, ca)
		t.Run("methods", func(t *testing.T) { testMethods(t, c, ca) })
		t.Run("TLS modes", func(t *testing.T) { testTLSModes(t, c, ca) })
		t.Run("hosts", func(t *testing.T) { testHosts(t, c) })
		t.Run("version and parameters", func(t *testing.T) { testVersionAndParameters(t, c) })
		t.Run("wrap", func(t *testing.T) { testWrap(t, c) })
		t.Run("cancel", func(t *testing.T) { testCancel(t, c) })
		t.Run("cancel fails", func(t *testing.T) { testCancelFails(t, c) })
	})
}

func testMethods(t *testing.T, c *pgtest.Cluster, ca *pgtest.CA) {
	caFile := pgtest.WriteFile(t, t.TempDir(), "ca.pem", ca.PEM)
	localhost := fmt.Sprintf("localhost:%d", c.Port)
	socket := fmt.Sprintf("%s:%d", c.SocketDir(), c.Port)
	full := server.TLS{Mode: server.ModeVerifyFull, CAFile: caFile}
	certFile, keyFile := ca.Client(t, "r_cert").Files(t)
	for _, test := range []struct {
		name string
		edit func(cfg *server.Config)
		want string
		text string // part of the error's text for the log
	}{
		{"scram", func(cfg *server.Config) { cfg.Role = "r_scram" }, "ok", ""},
		{"scram over a unix socket", func(cfg *server.Config) { cfg.Role, cfg.Hosts = "r_scram", []string{socket} }, "ok", ""},
		{"scram, wrong password", func(cfg *server.Config) {
			cfg.Role, cfg.Password = "r_scram", password("x")
		}, "28P01", "password authentication failed"},
		{"scram, no password", func(cfg *server.Config) { cfg.Role, cfg.Password = "r_scram", nil }, "08006", "there is no password"},
		{"scram, the password source fails", func(cfg *server.Config) {
			cfg.Role, cfg.Password = "r_scram", server.EnvPassword("CLAIMPOOL_TEST_NOT_SET")
		}, "08006", "get password"},
		{"scram, odd name and password", func(cfg *server.Config) {
			cfg.Role, cfg.Password = `odd "name`, password("pässwörd, ½")
		}, "ok", ""},
		{"scram with channel binding", func(cfg *server.Config) {
			cfg.Role, cfg.Hosts, cfg.TLS = "r_scram", []string{localhost}, full
			cfg.Methods = []server.Method{server.MethodSCRAMPlus}
		}, "ok", ""},
		{"scram over TLS with channel binding switched off", func(cfg *server.Config) {
			cfg.Role, cfg.Hosts, cfg.TLS = "r_scram", []string{localhost}, full
			cfg.Methods = []server.Method{server.MethodSCRAM}
		}, "ok", ""},
		{"channel binding demanded without TLS", func(cfg *server.Config) {
			cfg.Role, cfg.Methods = "r_scram", []server.Method{server.MethodSCRAMPlus}
		}, "08006", "does not allow"},
		{"md5", func(cfg *server.Config) { cfg.Role = "r_md5" }, "ok", ""},
		{"md5, wrong password", func(cfg *server.Config) { cfg.Role, cfg.Password = "r_md5", password("x") }, "28P01", ""},
		{"md5 not allowed", func(cfg *server.Config) {
			cfg.Role, cfg.Methods = "r_md5", []server.Method{server.MethodSCRAM, server.MethodSCRAMPlus}
		}, "08006", "does not allow"},
		{"cleartext over TLS", func(cfg *server.Config) { cfg.Role, cfg.Hosts, cfg.TLS = "r_clear", []string{localhost}, full }, "ok", ""},
		{"cleartext over loopback TLS by default", func(cfg *server.Config) { cfg.Role, cfg.TLS = "r_clear", server.TLS{} }, "ok", ""},
		{"cleartext over a unix socket", func(cfg *server.Config) { cfg.Role, cfg.Hosts = "r_clear", []string{socket} }, "ok", ""},
		{"cleartext without TLS", func(cfg *server.Config) { cfg.Role = "r_clear" }, "08006", "where somebody may listen"},
		{"trust", func(cfg *server.Config) { cfg.Role, cfg.Password = "r_trust", nil }, "ok", ""},
		{"trust over a unix socket", func(cfg *server.Config) { cfg.Role, cfg.Hosts = "r_trust", []string{socket} }, "ok", ""},
		{"trust not allowed", func(cfg *server.Config) {
			cfg.Role, cfg.Methods = "r_trust", []server.Method{server.MethodSCRAM}
		}, "08006", "wants no proof"},
		{"client certificate", func(cfg *server.Config) {
			cfg.Role, cfg.Hosts, cfg.TLS = "r_cert", []string{localhost}, full
			cfg.TLS.CertFile, cfg.TLS.KeyFile = certFile, keyFile
		}, "ok", ""},
		{"client certificate missing", func(cfg *server.Config) {
			cfg.Role, cfg.Hosts, cfg.TLS = "r_cert", []string{localhost}, full
		}, "28000", ""},
		{"unknown database", func(cfg *server.Config) { cfg.Role, cfg.Database = "r_scram", "nowhere" }, "3D000", ""},
		{"unknown role", func(cfg *server.Config) { cfg.Role = "nobody" }, "28P01", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(c, "")
			test.edit(cfg)
			got, err := code(t, cfg)
			if got != test.want || !strings.Contains(fmt.Sprint(err), test.text) {
				t.Errorf("got %s, want %s %q: %v", got, test.want, test.text, err)
			}
			if strings.Contains(fmt.Sprint(err), "secret one") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func testTLSModes(t *testing.T, c *pgtest.Cluster, ca *pgtest.CA) {
	other := pgtest.NewCA(t)
	caFile := pgtest.WriteFile(t, t.TempDir(), "ca.pem", ca.PEM)
	otherFile := pgtest.WriteFile(t, t.TempDir(), "ca.pem", other.PEM)
	plain := fake(t, func(conn net.Conn) { withoutTLS(conn, c.Address()) })
	right, wrong := fmt.Sprintf("localhost:%d", c.Port), c.Address()
	withPool := &tls.Config{RootCAs: ca.Pool}
	for _, test := range []struct {
		name    string
		host    string
		tls     server.TLS
		want    string
		withTLS bool
	}{
		{"disable", right, server.TLS{Mode: server.ModeDisable}, "ok", false},
		{"prefer takes any certificate", wrong, server.TLS{Mode: server.ModePrefer, CAFile: otherFile}, "ok", true},
		{"prefer takes no TLS", plain, server.TLS{Mode: server.ModePrefer}, "ok", false},
		{"require without CA takes any certificate", wrong, server.TLS{Mode: server.ModeRequire}, "ok", true},
		{"require with CA checks it", wrong, server.TLS{Mode: server.ModeRequire, CAFile: otherFile}, "08006", false},
		{"require with CA does not check the name", wrong, server.TLS{Mode: server.ModeRequire, CAFile: caFile}, "ok", true},
		{"require wants TLS", plain, server.TLS{Mode: server.ModeRequire}, "08006", false},
		{"verify-ca, right CA, wrong name", wrong, server.TLS{Mode: server.ModeVerifyCA, CAFile: caFile}, "ok", true},
		{"verify-ca, wrong CA", right, server.TLS{Mode: server.ModeVerifyCA, CAFile: otherFile}, "08006", false},
		{"verify-ca wants TLS", plain, server.TLS{Mode: server.ModeVerifyCA, CAFile: caFile}, "08006", false},
		{"verify-ca without a CA", right, server.TLS{Mode: server.ModeVerifyCA}, "XX000", false},
		{"verify-full, right CA, right name", right, server.TLS{Mode: server.ModeVerifyFull, CAFile: caFile}, "ok", true},
		{"verify-full, right CA, wrong name", wrong, server.TLS{Mode: server.ModeVerifyFull, CAFile: caFile}, "08006", false},
		{"verify-full, wrong CA", right, server.TLS{Mode: server.ModeVerifyFull, CAFile: otherFile}, "08006", false},
		{"verify-full, the system's CAs", right, server.TLS{Mode: server.ModeVerifyFull}, "08006", false},
		{"verify-full wants TLS", plain, server.TLS{Mode: server.ModeVerifyFull, CAFile: caFile}, "08006", false},
		{"verify-full with a ready pool", right, server.TLS{Mode: server.ModeVerifyFull, Config: withPool}, "ok", true},
		{"a ready configuration cannot switch verification off", right,
			server.TLS{Mode: server.ModeVerifyFull, Config: &tls.Config{InsecureSkipVerify: true}}, "08006", false},
		{"default on loopback is prefer", wrong, server.TLS{}, "ok", true},
		{"default on loopback without TLS", plain, server.TLS{}, "ok", false},
		{"a unix socket has no TLS", c.SocketDir() + fmt.Sprintf("/.s.PGSQL.%d", c.Port), server.TLS{Mode: server.ModeVerifyFull}, "ok", false},
		{"unknown mode", right, server.TLS{Mode: "maybe"}, "XX000", false},
		{"certificate without key", right, server.TLS{CertFile: caFile}, "XX000", false},
		{"CA file missing", right, server.TLS{CAFile: "/does/not/exist"}, "08006", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(c, cluster.Superuser)
			cfg.Password = password(c.Password)
			cfg.Hosts, cfg.TLS = []string{test.host}, test.tls
			got := "ok"
			conn, err := server.Open(t.Context(), cfg)
			if err != nil {
				got = string(claimpool.AsError(err).Code)
			} else {
				defer conn.Close()
				if (conn.TLS != nil) != test.withTLS {
					t.Errorf("with TLS: %v", conn.TLS != nil)
				}
			}
			if got != test.want {
				t.Errorf("got %s, want %s: %v", got, test.want, err)
			}
		})
	}
}

func TestOpenEd25519Certificate(t *testing.T) {
	// The certificate has no tls-server-end-point binding: PostgreSQL and we must agree on plain SCRAM, or say why not.
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	certPEM, keyPEM := selfSigned(t, key, "localhost")
	pgtest.EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		c := pgtest.Start(t, inst, pgtest.WithSetting("ssl", "on"),
			pgtest.WithFile("server.crt", certPEM), pgtest.WithFile("server.key", keyPEM))
		cfg := config(c, cluster.Superuser)
		cfg.Password = password(c.Password)
		cfg.TLS = server.TLS{Mode: server.ModeRequire}
		if got, err := code(t, cfg); got != "ok" {
			t.Errorf("got %s: %v", got, err)
		}
	})
}

func testHosts(t *testing.T, c *pgtest.Cluster) {
	live, dead := c.Address(), deadAddress(t)
	busy := fake(t, func(conn net.Conn) {
		readStartup(conn)
		conn.Write(wire.AppendError(nil, "FATAL", &claimpool.Error{Code: "53300", Message: "sorry, too many clients already"}))
	})
	starting := fake(t, func(conn net.Conn) {
		readStartup(conn)
		conn.Write(wire.AppendError(nil, "FATAL", &claimpool.Error{Code: "57P03", Message: "the database system is starting up"}))
	})
	refusing := fake(t, func(conn net.Conn) {
		readStartup(conn)
		conn.Write(wire.AppendError(nil, "FATAL", &claimpool.Error{Code: "28P01", Message: "no"}))
	})
	for _, test := range []struct {
		name  string
		hosts []string
		want  string
		host  string
	}{
		{"one", []string{live}, "ok", live},
		{"dead, live", []string{dead, live}, "ok", live},
		{"missing socket, unknown name, live", []string{t.TempDir(), "no-such-host.invalid:5432", live}, "ok", live},
		{"starting up, live", []string{starting, live}, "ok", live},
		{"too many clients, live", []string{busy, live}, "ok", live},
		{"a refused password is final", []string{refusing, live}, "28P01", ""},
		{"dead", []string{dead}, "57P03", ""},
		{"two dead", []string{dead, dead}, "57P03", ""},
		{"a server's own words win", []string{busy, dead}, "53300", ""},
		{"none", nil, "XX000", ""},
		{"malformed", []string{"host:port"}, "XX000", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(c, "r_scram")
			cfg.Hosts = test.hosts
			conn, err := server.Open(t.Context(), cfg)
			got := "ok"
			if err != nil {
				got = string(claimpool.AsError(err).Code)
			} else {
				defer conn.Close()
				if conn.Host != test.host {
					t.Errorf("host is %q", conn.Host)
				}
			}
			if got != test.want {
				t.Errorf("got %s, want %s: %v", got, test.want, err)
			}
		})
	}
}

func testVersionAndParameters(t *testing.T, c *pgtest.Cluster) {
	for _, version := range []uint32{0, wire.Version30, wire.Version32} {
		cfg := config(c, cluster.Superuser)
		cfg.Password, cfg.Version = password(c.Password), version
		cfg.Startup = [][2]string{{"application_name", "pool 1"}, {"search_path", "pg_catalog"}}
		conn, err := server.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		want, secret := uint32(wire.Version30), 4
		if version == wire.Version32 && c.Installation.Major >= 18 {
			want, secret = wire.Version32, 32
		}
		if conn.Version != want || len(conn.Target.Secret) != secret {
			t.Errorf("asked for %x: version %x, secret of %d bytes", version, conn.Version, len(conn.Target.Secret))
		}
		params := map[string]string{}
		for _, p := range conn.Params {
			params[p[0]] = p[1]
		}
		if params["application_name"] != "pool 1" || params["server_encoding"] == "" || len(params) != len(conn.Params) {
			t.Errorf("parameters %v", conn.Params)
		}
		if got := query(t, conn, "show search_path"); got != "pg_catalog" {
			t.Errorf("search_path is %q", got)
		}
		if got := query(t, conn, "select pg_backend_pid()"); got != fmt.Sprint(conn.PID()) {
			t.Errorf("process id is %s, not %d", got, conn.PID())
		}
	}
}

func testWrap(t *testing.T, c *pgtest.Cluster) {
	cfg := config(c, "r_scram")
	cfg.TLS.Mode = server.ModeRequire
	var wrapped atomic.Int32
	cfg.Wrap = func(conn net.Conn) net.Conn {
		wrapped.Add(1)
		return struct{ net.Conn }{conn}
	}
	conn, err := server.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.TLS.NetConn().(struct{ net.Conn }); !ok || wrapped.Load() != 1 {
		t.Errorf("TLS runs over %T, wrapped %d times", conn.TLS.NetConn(), wrapped.Load())
	}
}

func testCancel(t *testing.T, c *pgtest.Cluster) {
	for _, test := range []struct {
		name string
		edit func(cfg *server.Config)
	}{
		{"plain", func(*server.Config) {}},
		{"protocol 3.2", func(cfg *server.Config) { cfg.Version = wire.Version32 }},
		{"TLS", func(cfg *server.Config) { cfg.TLS.Mode = server.ModeRequire }},
		{"unix socket", func(cfg *server.Config) { cfg.Hosts = []string{fmt.Sprintf("%s:%d", c.SocketDir(), c.Port)} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(c, "r_scram")
			test.edit(cfg)
			conn, err := server.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			// The lock tells when the statement runs: nothing is left to a clock.
			if _, err := conn.Conn.Write(wire.AppendQuery(nil, "select pg_advisory_lock(7), pg_sleep(60)")); err != nil {
				t.Fatal(err)
			}
			watch := c.Connect(t, "postgres", cluster.Superuser, "")
			for locked := false; !locked; {
				const held = "select exists (select from pg_locks where locktype = 'advisory' and pid = $1)"
				if err := watch.QueryRow(t.Context(), held, conn.PID()).Scan(&locked); err != nil {
					t.Fatal(err)
				}
			}
			if err := conn.Target.Cancel(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := answer(t, conn); got != "57014" {
				t.Errorf("the statement ended with %q", got)
			}
		})
	}
}

// answer reads the replies to one Query and gives the SQLSTATE of the error in it.
func answer(t *testing.T, c *server.Conn) (state string) {
	t.Helper()
	for {
		typ, body, err := wire.ReadMessage(c.Conn, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		switch typ {
		case wire.MsgErrorResponse:
			fields, _ := wire.ParseError(body)
			state = fields.Code
		case wire.MsgReadyForQuery:
			return state
		}
	}
}

func testCancelFails(t *testing.T, c *pgtest.Cluster) {
	cfg := config(c, "r_scram")
	cfg.TLS.Mode = server.ModePrefer
	conn, err := server.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	none := conn.Target
	none.Secret = nil
	if err := none.Cancel(t.Context()); err == nil {
		t.Error("cancel without a key succeeded")
	}
	cfg.TLS.Mode = server.ModeDisable // as if somebody in the middle had taken TLS away
	if err := conn.Target.Cancel(t.Context()); err == nil || !strings.Contains(err.Error(), "no longer offers TLS") {
		t.Errorf("the key was sent without TLS: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := conn.Target.Cancel(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOpenContextEnds(t *testing.T) {
	silent := make(chan struct{})
	addr := fake(t, func(conn net.Conn) {
		readStartup(conn)
		close(silent)
		readStartup(conn) // until the client gives up
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-silent; cancel(errors.New("the client left")) }()
	_, err := server.Open(ctx, fakeConfig(addr))
	if err == nil || !strings.Contains(err.Error(), "the client left") {
		t.Errorf("got %v", err)
	}
}

// selfSigned makes a certificate for a host with any key.
func selfSigned(t *testing.T, key ed25519.PrivateKey, host string) (certPEM, keyPEM []byte) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemBlock("CERTIFICATE", der), pemBlock("PRIVATE KEY", keyDER)
}

func deadAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
