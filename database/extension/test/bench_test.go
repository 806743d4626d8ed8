package extension_test

import (
	"fmt"
	"os"
	"slices"
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

// A round of BenchmarkServerCPU sends so many messages of a kind, one after the other.
const roundOf = 500

// BenchmarkServerCPU reports the server's CPU time for one message of each kind. The kinds take turns on one connection and the median of
// the turns counts, because a machine's speed changes from one second to the next:
//
//	go test -run none -bench ServerCPU -benchtime 20000x ./database/extension/test
func BenchmarkServerCPU(b *testing.B) {
	for _, inst := range pgtest.Versions(b) {
		if headers(inst.Major) == "" {
			continue
		}
		b.Run(fmt.Sprint("pg", inst.Major), func(b *testing.B) {
			s := start(b, inst)
			s.login(b, "postgres").mustExec("alter role pool set log_statement = none")
			c := s.pooled(b)
			c.become("t0")
			compareMessages(b, c, s.login(b, "postgres").function("pg_backend_pid()"))
			b.ReportMetric(c.cpuOfReading(b), "jwt('k')-µs")
		})
	}
}

func compareMessages(b *testing.B, c *client, noop uint32) {
	claims := `","pad":"` + strings.Repeat("x", 100)
	kinds := []struct {
		name string
		send func(i int) pgproto3.FrontendMessage
	}{
		{"no-op", func(int) pgproto3.FrontendMessage { return call(noop) }},
		{"same-identity", func(int) pgproto3.FrontendMessage { return c.switchTo("t0" + claims) }},
		{"new-identity", func(i int) pgproto3.FrontendMessage { return c.switchTo(fmt.Sprint("t", i%2, claims)) }},
		{"DISCARD-ALL", func(int) pgproto3.FrontendMessage { return &pgproto3.Query{String: "discard all"} }},
		{"select-1", func(int) pgproto3.FrontendMessage { return &pgproto3.Query{String: "select 1"} }},
		{"select-jwt", func(int) pgproto3.FrontendMessage { return &pgproto3.Query{String: "select jwt('tenant')"} }},
	}
	turns := make([][]float64, len(kinds))
	for range max(b.N/roundOf, 1) {
		for k, kind := range kinds {
			before := c.cpu(b)
			for i := range roundOf {
				c.send(kind.send(i))
				if r := c.receive(); r.dead || r.code() != "" {
					b.Fatal(describe(r))
				}
			}
			turns[k] = append(turns[k], (c.cpu(b)-before)/roundOf/1000)
		}
	}
	for k, kind := range kinds {
		slices.Sort(turns[k])
		b.ReportMetric(turns[k][len(turns[k])/2], kind.name+"-µs")
	}
}

// cpuOfReading is what jwt('k') costs in the middle of a statement, in µs.
func (c *client) cpuOfReading(b *testing.B) float64 {
	const rows = 100_000
	c.become("t0")
	loop := func(expression string) float64 {
		before := c.cpu(b)
		c.mustExec(fmt.Sprintf("select count(%s) from generate_series(1, %d) i", expression, rows))
		return (c.cpu(b) - before) / rows / 1000
	}
	return loop("jwt(case when i > 0 then 'tenant' end)") - loop("case when i > 0 then 'tenant' end")
}

func (c *client) switchTo(tenant string) pgproto3.FrontendMessage {
	g := c.next("t0")
	g.identity[0] = tenant[1]
	g.claims = `{"tenant":"` + tenant + `"}`
	return call(c.switcher, g.bytes(c.key))
}
