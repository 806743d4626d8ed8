package extension_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/auth"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/trusted"
)

const pageFile = "../../../docs/howto/direct.md"

// sqlBlock finds "```sql USER [VERSION] [NAME=VALUE]", and the ```text block right behind it.
var sqlBlock = regexp.MustCompile("(?m)^```sql (\\w+)(?: (\\d+))?(?: (\\S+)=(\\S+))?\n((?s:.*?))^```\n(?:\n```text\n((?s:.*?))```\n)?")

// TestPage runs the page about direct connections: each block of SQL as its user, on a connection of its own.
func TestPage(t *testing.T) {
	page, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	blocks := sqlBlock.FindAllStringSubmatch(string(page), -1)
	if all := strings.Count(string(page), "```sql"); all != len(blocks) || all < 14 {
		t.Fatalf("%d blocks, %d of them understood", all, len(blocks))
	}
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		p := openPage(t, inst)
		for _, b := range blocks {
			if version, _ := strconv.Atoi(b[2]); version > inst.Major {
				continue
			}
			if got := p.run(b[1], b[3], b[4], b[5]); b[6] != "" && got != b[6] {
				t.Errorf("%s\nprints\n%s\nthe page says\n%s", b[5], got, b[6])
			}
			if t.Failed() {
				return
			}
		}
	})
}

// otherBlock finds the proxy's configuration and the lines for postgresql.conf.
var otherBlock = regexp.MustCompile("(?m)^```(yaml|ini)\n((?s:.*?))^```\n")

// TestPageSettings: what the page says beside SQL is known to the proxy and to the server.
func TestPageSettings(t *testing.T) {
	page, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		admin := start(t, inst).login(t, "postgres")
		for _, b := range otherBlock.FindAllStringSubmatch(string(page), -1) {
			if b[1] == "ini" {
				name, _, _ := strings.Cut(b[2][strings.Index(b[2], "\n")+1:], " =")
				admin.mustExec("show " + name)
				continue
			}
			dir := t.TempDir()
			pgtest.WriteFile(t, dir, "pool.password", []byte("pooled"))
			pgtest.WriteFile(t, dir, "claimpool.key", []byte("x25519:k1:"+b64(make([]byte, 32))))
			file := pgtest.WriteFile(t, dir, "claimpool.yaml", []byte(b[2]+"rules: [{method: trust}]\n"))
			c, err := config.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := c.Databases["shop"]; d.Context.Dialect != "native" || d.Role != "pooled" {
				t.Errorf("%+v", d)
			}
		}
	})
}

// story is the database of the page, and who comes in.
type story struct {
	t      *testing.T
	inst   cluster.Installation
	key    ed25519.PrivateKey
	dsn    map[string]string
	tokens map[string]string // what stands for "eyJ…" and the name
	held   holder            // of the token that names a key
}

// pageNonce is the challenge that the page shows.
const pageNonce = "wQ0uV1mC2o9XJ3B0r4bYk2ZlYw7m5nTq8sHc6dEfGh0"

func openPage(t *testing.T, inst cluster.Installation) *story {
	s, key := direct(t, inst)
	admin := s.login(t, "postgres")
	admin.mustExec("create database shop")
	t.Cleanup(func() {
		admin := s.login(t, "postgres")
		for _, sql := range []string{"drop database shop with (force)", "drop role if exists app", "drop role if exists pooled"} {
			admin.mustExec(sql)
		}
	})
	p := &story{t: t, inst: inst, key: key, dsn: map[string]string{}, tokens: map[string]string{}}
	for _, user := range []string{"app", "pooled"} {
		p.dsn[user] = s.DSN("shop", user, user)
	}
	p.dsn["admin"] = s.DSN("shop", cluster.Superuser, "")
	for name, more := range map[string]string{
		"acme": `"tenant":"acme"`, "globex": `"tenant":"globex"`,
		"bound": `"cnf":{"pid":4711,"start":1763725000.123456}`, "elsewhere": `"cnf":{"addr":"192.0.2.1","role":"app"}`,
	} {
		p.tokens[name] = p.token(more, 30*time.Minute)
	}
	p.tokens["expired"] = p.token(`"tenant":"acme"`, -time.Minute)
	p.seal(s)
	p.hold()
	p.proxy(s)
	return p
}

func (p *story) token(more string, life time.Duration) string {
	exp := float64(time.Now().Add(life).UnixMilli()) / 1000
	return mint(p.t, p.key, `{"alg":"EdDSA","kid":"k1"}`, fmt.Sprintf(`{"iss":"https://id.example.com","aud":"shop","exp":%.3f,%s}`, exp, more))
}

// seal encrypts a token for the server, and for another.
func (p *story) seal(s *server) {
	p.t.Helper()
	for _, name := range []string{"sealed", "foreign"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			p.t.Fatal(err)
		}
		p.tokens[name] = seal(p.t, p.tokens["acme"], jose.ECDH_ES, "", key.Public(), nil)
		if der, err := x509.MarshalPKCS8PrivateKey(key); err != nil {
			p.t.Fatal(err)
		} else if name == "sealed" {
			s.privateFile(p.t, "jwt.decryption_keys_file", "decryption.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		}
	}
}

// hold makes the token that names a key.
func (p *story) hold() {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	public, err := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	if err != nil {
		p.t.Fatal(err)
	}
	p.tokens["held"] = p.token(`"tenant":"acme","cnf":{"jwk":`+string(public)+`}`, 30*time.Minute)
	p.held = holder{p.t, key, "ES256", p.tokens["held"]}
}

// proxy starts one with the key that the server knows.
func (p *story) proxy(s *server) {
	p.t.Helper()
	key, err := trusted.ParseNativeKey([]byte("x25519:" + s.key.kid + ":" + b64(s.key.private.Bytes())))
	if err != nil {
		p.t.Fatal(err)
	}
	issuer := pgtest.NewIssuer(p.t, "https://id.example.com")
	proxy := pgtest.StartProxy(p.t, pgtest.ProxyOptions{
		Cluster: &pgtest.Cluster{Cluster: s.Cluster}, Database: "shop", Role: "pooled", Password: "pooled",
		Dialect: &trusted.Native{Key: key}, Rules: []auth.Rule{pgtest.JWTRule(p.t, "pooled", issuer)},
	})
	p.dsn["proxy"] = proxy.DSN("shop", "pooled", issuer.Mint("ada", map[string]any{"tenant": "acme"}), "require")
}

// run prints the results as psql -At does. A setting of the connection may be given.
func (p *story) run(user, setting, value, sql string) string {
	p.t.Helper()
	config, err := pgconn.ParseConfig(p.dsn[user])
	if err != nil {
		p.t.Fatal(err)
	}
	if setting != "" {
		config.RuntimeParams[setting] = p.real(value)
	}
	conn, err := pgconn.ConnectConfig(p.t.Context(), config)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var out strings.Builder
	for _, statement := range statements(sql) {
		statement = p.real(statement)
		if strings.HasPrefix(statement, "CREATE EXTENSION") {
			statement = extensionScript(p.t, p.inst.Major)
		}
		results, err := conn.Exec(p.t.Context(), statement).ReadAll()
		var refused *pgconn.PgError
		switch {
		case errors.As(err, &refused):
			if user == "admin" {
				p.t.Errorf("%s: %v", statement, err)
			}
			fmt.Fprintf(&out, "ERROR:  %s\n", refused.Message)
		case err != nil:
			p.t.Fatalf("%s: %v", statement, err)
		}
		for _, result := range results {
			for _, row := range result.Rows {
				if strings.Contains(statement, "jwt_challenge()") {
					p.tokens["proof"] = p.held.proof(`"kb+jwt"`, string(row[0]), tokenHash(p.held.token), `,"aud":"shop"`)
					p.tokens["issued"] = p.token(`"tenant":"acme","nonce":"`+string(row[0])+`"`, time.Minute)
					row[0] = []byte(pageNonce)
				}
				out.WriteString(string(row[0]) + "\n")
			}
		}
	}
	return out.String()
}

var placeholder = regexp.MustCompile(`eyJ…(\w+)`)

// real puts real keys and tokens in the place of the page's.
func (p *story) real(text string) string {
	p.tokens["short"] = p.token(`"tenant":"acme"`, 3500*time.Millisecond)
	text = strings.ReplaceAll(text, `"x": "…"`, `"x": "`+b64(p.key.Public().(ed25519.PublicKey))+`"`)
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		token := p.tokens[strings.TrimPrefix(name, "eyJ…")]
		if token == "" {
			p.t.Fatalf("the page has a token %s", name)
		}
		return token
	})
}

// statements splits a script at the semicolons that end a line, but not inside $$.
func statements(script string) (list []string) {
	statement, quoted := "", false
	for line := range strings.Lines(script) {
		statement += line
		quoted = quoted != (strings.Count(line, "$$")%2 == 1)
		code, _, _ := strings.Cut(line, " --")
		if !quoted && strings.HasSuffix(strings.TrimSpace(code), ";") {
			list, statement = append(list, statement), ""
		}
	}
	return list
}
