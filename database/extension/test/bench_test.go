package extension_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/jackc/pgx/v5/pgproto3"
)

// cpu is the time that a server process has run, in nanoseconds.
func (c *client) cpu(b *testing.B) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", c.pid))
	if err != nil {
		b.Fatal(err)
	}
	ns, err := strconv.ParseFloat(strings.Fields(string(data))[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return ns
}

// BenchmarkServerCPU reports the server's CPU time for one message of each kind, in turns on one connection:
//
//	go test -bench ServerCPU -benchtime 20000x ./database/extension/test
func BenchmarkServerCPU(b *testing.B) {
	for _, inst := range pgtest.Versions(b) {
		if headers(inst.Major) == "" {
			continue
		}
		s := start(b, inst)
		s.login(b, "postgres").mustExec("alter role pool set log_statement = none")
		defer s.login(b, "postgres").mustExec("alter role pool reset log_statement")
		c := s.pooled(b)
		c.become("t0")
		noop := s.login(b, "postgres").function("pg_backend_pid()")
		claims := `","pad":"` + strings.Repeat("x", 100)
		for _, row := range []struct {
			name string
			send func(i int) pgproto3.FrontendMessage
		}{
			{"no-op call", func(int) pgproto3.FrontendMessage { return call(noop) }},
			{"switch, same identity", func(int) pgproto3.FrontendMessage { return c.switchTo("t0" + claims) }},
			{"switch, new identity", func(i int) pgproto3.FrontendMessage { return c.switchTo(fmt.Sprint("t", i%2, claims)) }},
			{"DISCARD ALL", func(int) pgproto3.FrontendMessage { return &pgproto3.Query{String: "discard all"} }},
			{"select 1", func(int) pgproto3.FrontendMessage { return &pgproto3.Query{String: "select 1"} }},
			{"select jwt('tenant')", func(int) pgproto3.FrontendMessage { return &pgproto3.Query{String: "select jwt('tenant')"} }},
		} {
			b.Run(fmt.Sprintf("pg%d/%s", inst.Major, row.name), func(b *testing.B) {
				before := c.cpu(b)
				for i := range b.N {
					c.send(row.send(i))
					if r := c.receive(); r.dead || r.code() != "" {
						b.Fatal(describe(r))
					}
				}
				b.ReportMetric((c.cpu(b)-before)/float64(b.N)/1000, "server-µs/op")
			})
		}
		b.Run(fmt.Sprintf("pg%d/jwt('k') in a loop", inst.Major), func(b *testing.B) {
			c.become("t0")
			loop := func(expression string) float64 {
				before := c.cpu(b)
				c.mustExec(fmt.Sprintf("select count(%s) from generate_series(1, %d) i", expression, max(b.N, 1000)))
				return (c.cpu(b) - before) / float64(max(b.N, 1000)) / 1000
			}
			b.ReportMetric(loop("jwt(case when i > 0 then 'tenant' end)")-loop("case when i > 0 then 'tenant' end"), "server-µs/op")
		})
	}
}

func (c *client) switchTo(tenant string) pgproto3.FrontendMessage {
	g := c.next("t0")
	g.identity[0] = tenant[1]
	g.claims = `{"tenant":"` + tenant + `"}`
	return call(c.switcher, g.bytes(c.key))
}
