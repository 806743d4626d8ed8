package extension_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimpool/claimpool/cluster"
)

// memory is what the backend has of the system's, in bytes.
func (c *client) memory() int {
	c.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		c.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestNoLeakOfEnvelopesAndAnswers: good and bad ones, many times, do not make the backend grow.
func TestNoLeakOfEnvelopesAndAnswers(t *testing.T) {
	eachVersion(t, func(t *testing.T, inst cluster.Installation) {
		s, key := direct(t, inst)
		r := newRecipients(t)
		s.privateFile(t, "jwt.decryption_keys_file", "decryption.json", keySet(t, jwk(t, r["rsa"], "rsa", nil), jwk(t, r["p256"], "p256", nil)))
		c := s.login(t, "plain")
		token, h := mint(t, key, edHeader, claims("")), ada(t, key)
		var quoted []string
		for _, text := range []string{
			seal(t, token, jose.RSA_OAEP_256, "rsa", r["rsa"].Public(), nil),
			seal(t, token, jose.ECDH_ES, "p256", r["p256"].Public(), nil),
			seal(t, "no token", jose.ECDH_ES, "p256", r["p256"].Public(), nil),
			part(seal(t, token, jose.RSA_OAEP_256, "rsa", r["rsa"].Public(), nil), 1, flipped),
			part(seal(t, token, jose.ECDH_ES, "p256", r["p256"].Public(), nil), 4, flipped),
			h.answer("of another connection"),
			h.token,
		} {
			quoted = append(quoted, "'"+text+"'")
		}
		c.mustExec("create temp table given as select unnest(array[" + strings.Join(quoted, ",") + "]) as token")
		work := func(n int) {
			c.mustExec(fmt.Sprintf(`do $$ declare given_token text; begin for i in 1..%d loop
				for given_token in select token from given loop
					begin perform jwt_challenge(), set_config('jwt.context', given_token, false), jwt('tenant'); exception when others then null; end;
				end loop;
				end loop; end $$`, n))
		}
		answers := func(n int) {
			for range n {
				c.mustExec("set jwt.context = '" + h.answer(c.nonce()) + "'")
			}
		}
		work(50)
		answers(50)
		before := c.memory()
		work(300)
		answers(300)
		if grown := c.memory() - before; grown > 2<<20 {
			t.Errorf("grew by %d bytes", grown)
		}
	})
}
