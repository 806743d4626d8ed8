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

const (
	// A turn of BenchmarkServerCPU sends so many requests of a kind to each connection, one after the other.
	turnOf = 50

	// backends are the connections, which are all asked before the first is heard: as behind a proxy with many clients, the server
	// has always something to do, and its core does not change to the client and back at each request.
	backends = 8
)

// BenchmarkServerCPU reports the server's CPU time, in µs, of one request among those of eight connections. The kinds of requests take
// turns and the median of the turns counts, because a machine's speed changes from one second to the next:
//
//	taskset -c 1 go test -run none -bench ServerCPU -benchtime 6000x ./database/extension/test
//
// By itself, with a round trip of its own, which is mostly its two system calls:
//
//	no-op          a function call that does nothing
//	same-identity  switch() to the identity that is there already
//	new-identity   switch() to another one, which resets the session
//	DISCARD-ALL    what a pooler without the extension sends between two clients
//	select-1       a request, and select-jwt one that reads the context
//
// And what a hand-over adds to the client's request, turn by turn: the proxy sends both in one write and the answers come back in one.
//
//	+no-op         (no-op and select 1 in one write) less (select 1): its answer is sent at once
//	+same          (same-identity and select 1 in one write) less (select 1)
//	+new           (new-identity and select 1 in one write) less (select 1)
//	+DISCARD-ALL   (DISCARD ALL, its answer awaited, then select 1) less (select 1): PgBouncer's way
//	+new/+no-op    ratio of +new to +no-op, and so on
func BenchmarkServerCPU(b *testing.B) {
	for _, inst := range pgtest.Versions(b) {
		if headers(inst.Major) == "" {
			continue
		}
		b.Run(fmt.Sprint("pg", inst.Major), func(b *testing.B) {
			s := start(b, inst)
			s.login(b, "postgres").mustExec("alter role pool set log_statement = none")
			f := make(fleet, backends)
			for i := range f {
				f[i] = s.pooled(b)
				f[i].become("t0")
			}
			compareRequests(b, f, s.login(b, "postgres").function("pg_backend_pid()"))
			b.ReportMetric(f[0].cpuOfReading(b), "jwt('k')-µs")
		})
	}
}

// A kind of request is one or more writes, each of which is answered before the next one is sent.
type kind struct {
	name   string
	writes func(i int) [][]pgproto3.FrontendMessage
}

// closing closes the statement without a name, as the proxy does in front of switch().
var closing = &pgproto3.Close{ObjectType: 'S'}

const padding = `","pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx`

// fleet is some connections of the same role.
type fleet []*client

func (f fleet) cpu(b *testing.B) (ns float64) {
	for _, c := range f {
		ns += c.cpu(b)
	}
	return ns
}

func (c *client) kinds(noop uint32) []kind {
	type message = pgproto3.FrontendMessage
	alone := func(m message) [][]message { return [][]message{{m}} }
	one, discard := &pgproto3.Query{String: "select 1"}, &pgproto3.Query{String: "discard all"}
	same := func() message { return c.switchTo("t0" + padding) }
	other := func(i int) message { return c.switchTo(fmt.Sprint("t", i%2, padding)) }
	return []kind{
		{"select-1", func(int) [][]message { return alone(one) }},
		{"+no-op", func(int) [][]message { return [][]message{{call(noop), one}} }},
		{"+same", func(int) [][]message { return [][]message{{same(), one}} }},
		{"+new", func(i int) [][]message { return [][]message{{closing, other(i), one}} }},
		{"+DISCARD-ALL", func(int) [][]message { return [][]message{{discard}, {one}} }},
		{"no-op", func(int) [][]message { return alone(call(noop)) }},
		{"same-identity", func(int) [][]message { return alone(same()) }},
		{"new-identity", func(i int) [][]message { return alone(other(i)) }},
		{"DISCARD-ALL", func(int) [][]message { return alone(discard) }},
		{"select-jwt", func(int) [][]message { return alone(&pgproto3.Query{String: "select jwt('tenant')"}) }},
	}
}

// turn is what a request of the kind k costs, in µs: each connection is asked, and then each is heard.
func (f fleet) turn(b *testing.B, kinds [][]kind, k int) float64 {
	before := f.cpu(b)
	for i := range turnOf {
		writes := make([][][]pgproto3.FrontendMessage, len(f))
		for n := range f {
			writes[n] = kinds[n][k].writes(i)
		}
		for w := range writes[0] {
			for n, c := range f {
				c.send(writes[n][w]...)
			}
			for n, c := range f {
				c.expect(b, writes[n][w])
			}
		}
	}
	return (f.cpu(b) - before) / turnOf / 1000 / float64(len(f))
}

// expect takes the answers to what was written.
func (c *client) expect(b *testing.B, written []pgproto3.FrontendMessage) {
	for _, m := range written {
		if m == closing { // its answer comes with the next one
			continue
		}
		if r := c.receive(); r.dead || r.code() != "" {
			b.Fatal(describe(r))
		}
	}
}

func compareRequests(b *testing.B, f fleet, noop uint32) {
	turns := map[string][]float64{}
	kinds := make([][]kind, len(f))
	for n, c := range f {
		kinds[n] = c.kinds(noop)
	}
	for range max(b.N/turnOf, 1) {
		var request float64
		for k := range kinds[0] {
			cost, name := f.turn(b, kinds, k), kinds[0][k].name
			if name == "select-1" {
				request = cost
			}
			if strings.HasPrefix(name, "+") {
				cost -= request
			}
			turns[name] = append(turns[name], cost)
		}
	}
	median := func(name string) float64 {
		slices.Sort(turns[name])
		return turns[name][len(turns[name])/2]
	}
	for name := range turns {
		b.ReportMetric(median(name), name+"-µs")
	}
	for _, name := range []string{"+same", "+new"} {
		b.ReportMetric(median(name)/median("+no-op"), name+"/+no-op")
		b.ReportMetric(median(name)/median("+DISCARD-ALL"), name+"/+DISCARD-ALL")
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
