package extension_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/claimpool/claimpool/cluster"
)

// TestAttackReadUnusualSecrets: the attacker reads the server's log and pg_stat_activity, where tokens whose header begins with white space are,
// and the keys that others sign with.
//
// Must: No token and no key is there; names and texts that only look alike are.
// Dialects: native
// Not sql: TestAttackReadAnotherHandover is its counterpart
func TestAttackReadUnusualSecrets(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		c := s.login(t, "postgres", "options", "-c log_min_duration_statement=0 -c log_error_verbosity=verbose -c log_parameter_max_length_on_error=-1")
		c.mustExec("load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_verbose = on; set auto_explain.log_nested_statements = on")
		other := s.login(t, "postgres")
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		hidden := map[string]string{}
		run := func(name, secret, sql string) {
			hidden[name] = secret
			if r := c.exec(sql); r.code() != "" {
				t.Errorf("%s: %s", name, describe(r))
			}
			if got := other.one(fmt.Sprintf("select query from pg_stat_activity where pid = %d", c.pid)); strings.Contains(got, secret) || !strings.Contains(got, "**") {
				t.Errorf("%s: pg_stat_activity: %s", name, got)
			}
		}
		for _, header := range []string{`{ "alg":"EdDSA"}`, "{\n\t\"alg\":\"EdDSA\"}", ` {"alg":"EdDSA"}`, "\r\n\t  {\r\n  \"typ\":\"JWT\", \"alg\":\"EdDSA\"}", `{"alg":"EdDSA"}`} {
			token := mint(t, key, header, claims(`,"h":`+fmt.Sprint(len(header))))
			signature := token[strings.LastIndex(token, ".")+1:]
			name := fmt.Sprintf("%q", header)
			run(name, signature, "set jwt.context = '"+token+"'")
			run(name, signature, "select set_config('jwt.context', '"+token+"', false)")
			run(name, signature, "do $$ begin perform set_config('jwt.context', '"+token+"', false); end $$")
			c.send(&pgproto3.Parse{Query: "select set_config('jwt.context', $1, false)"}, &pgproto3.Bind{Parameters: [][]byte{[]byte(token)}}, &pgproto3.Execute{}, &pgproto3.Sync{})
			if r := c.receive(); r.code() != "" {
				t.Errorf("%s as a parameter: %s", name, describe(r))
			}
			c.send(&pgproto3.Parse{Query: "select 1 / length($1) - length($1) / 0"}, &pgproto3.Bind{Parameters: [][]byte{[]byte(token)}}, &pgproto3.Execute{}, &pgproto3.Sync{})
			if r := c.receive(); r.code() != "22012" {
				t.Errorf("%s as the parameter of a statement that fails: %s", name, describe(r))
			}
		}
		private := strings.Split(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "\n")[1]
		secret, shared := b64(der), b64([]byte("a shared secret of forty characters, all of them"))
		run("DER", secret, `select jwt_sign('EdDSA', '`+secret+`', '{"alg":"EdDSA"}', '{"a":1}')`)
		run("PEM", private[len(private)-24:], "select JWT_Sign ('EdDSA', '-----BEGIN PRIVATE KEY-----\n"+private+"\n-----END PRIVATE KEY-----\n', '{\"alg\":\"EdDSA\"}', '{\"a\":1}')")
		run("HMAC", shared, `select public."jwt_sign"('HS256', '`+shared+`', '{"alg":"HS256"}', '{"a":1}')`)
		token := mint(t, []byte("a shared secret of forty characters, all of them"), `{"alg":"HS256"}`, claims(""))
		run("jwt_verify", shared, "select jwt_verify('"+shared+"', '"+token+"')")

		kept := []string{"pg_catalog.pg_database.datname_is_kept", "https://example.com/a.long.path.of.words.that.are.kept", "excellent_schema.extraordinary_table.column_names",
			"IHsexample.is.not.a.token.at.all.and.is.kept", strings.Repeat("ey.", 40) + "kept"}
		for _, text := range kept {
			c.mustExec("select '" + text + "' as kept_as_it_is")
		}
		log, err := os.ReadFile(s.LogFile())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(log), "Query Text: select set_config(") {
			t.Error("auto_explain says nothing")
		}
		for name, secret := range hidden {
			if i := strings.Index(string(log), secret); i >= 0 {
				t.Errorf("%s in the log: …%s…", name, log[max(0, i-300):min(len(log), i+80)])
			}
		}
		for _, text := range kept {
			if !strings.Contains(string(log), text) {
				t.Errorf("not in the log: %s", text)
			}
		}
	})
}
