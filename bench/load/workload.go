//go:build linux

package load

import (
	"fmt"
	"slices"
	"strings"

	"github.com/claimpool/claimpool/bench/pgmsg"
)

// step is one request, sent in one write, and the message that ends its reply.
type step struct {
	send  []byte
	until byte
}

// workload is one transaction of a client.
type workload struct {
	name  string
	about string
	steps []step

	// prepared, when set, gives client i a request to send once after the login, and steps of its own.
	prepared func(i int) (prepare []byte, steps []step)
}

// Sizes of the large results and uploads: 1 MB in rows of 1 kB.
const (
	rowSize  = 1024
	rowCount = 1024
)

var workloads = []workload{
	{name: "simple", about: "select 1 as a simple Query", steps: []step{query("select 1")}},
	{name: "extended", about: "select 1 as Parse, Bind, Describe, Execute, Sync", steps: []step{ready(extended("", "select 1"))}},
	{name: "prepared", about: "select 1, parsed once per client, as Bind, Execute, Sync",
		prepared: prepared},
	{name: "transaction", about: "BEGIN, 3 times select 1, COMMIT: five round trips",
		steps: []step{query("begin"), query("select 1"), query("select 1"), query("select 1"), query("commit")}},
	{name: "context", about: "what an application must do without a proxy that does it: BEGIN, set_config, select 1, COMMIT",
		steps: []step{query("begin"), query(`select set_config('app.claims', '{"sub":"bench","tenant":"a"}', true)`),
			query("select 1"), query("commit")}},
	{name: "account", about: "one row of pgbench's accounts by its key, as pgbench -S does; each client has a row of its own", prepared: account(false)},
	{name: "account-context", about: "the same by a client that brings its claims along: BEGIN, set_config, select, COMMIT: four round trips",
		prepared: account(true)},
	{name: "update", about: "pgbench -N: BEGIN, UPDATE, SELECT, INSERT, COMMIT on an account of its own: five round trips", prepared: update},
	{name: "download", about: "1 MB of result in rows of 1 kB",
		steps: []step{query(fmt.Sprintf("select repeat('x', %d) from generate_series(1, %d)", rowSize, rowCount))}},
	{name: "upload", about: "COPY FROM STDIN of 1 MB in rows of 1 kB",
		steps: []step{{send: pgmsg.AppendQuery(nil, "copy bench_upload from stdin"), until: 'G'}, ready(upload())}},
}

// Workloads lists the names of the workloads, with what they do.
func Workloads() [][2]string {
	var list [][2]string
	for _, w := range workloads {
		list = append(list, [2]string{w.name, w.about})
	}
	return append(list,
		[2]string{"storm", "connect, log in, leave, again and again"},
		[2]string{"idle", "log in and stay: the memory per client"})
}

func find(name string) (*workload, error) {
	i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no workload %q", name)
	}
	return &workloads[i], nil
}

func ready(send []byte) step { return step{send: send, until: 'Z'} }

func query(sql string) step { return ready(pgmsg.AppendQuery(nil, sql)) }

func extended(name, sql string) []byte {
	b := pgmsg.AppendParse(nil, name, sql)
	b = pgmsg.AppendBind(b, name)
	b = pgmsg.AppendDescribe(b)
	b = pgmsg.AppendExecute(b)
	return pgmsg.AppendSync(b)
}

// prepared uses a name of its own for every client: with one name for all, a pooler that does not know prepared statements
// would find some other client's on every server after a while, and seem to work.
func prepared(i int) ([]byte, []step) {
	name := fmt.Sprintf("bench_%d", i)
	prepare := pgmsg.AppendSync(pgmsg.AppendParse(nil, name, "select 1"))
	return prepare, []step{ready(pgmsg.AppendSync(pgmsg.AppendExecute(pgmsg.AppendBind(nil, name))))}
}

// account is pgbench's select; with claims it is what an application does by itself behind a pooler that knows no identities.
func account(claims bool) func(i int) ([]byte, []step) {
	return func(i int) ([]byte, []step) {
		steps := []step{query(fmt.Sprintf("select abalance from pgbench_accounts where aid = %d", 1+i*7919%100_000))}
		if claims {
			steps = []step{query("begin"), query(fmt.Sprintf(`select set_config('app.claims', '{"sub":"user-%d","tenant_id":%d}', true)`, i, 1000+i)),
				steps[0], query("commit")}
		}
		return nil, steps
	}
}

// update is pgbench's transaction without the tables that all clients write to, where they would wait for each other.
func update(i int) ([]byte, []step) {
	aid := 1 + i*7919%100_000
	return nil, []step{query("begin"),
		query(fmt.Sprintf("update pgbench_accounts set abalance = abalance + %d where aid = %d", i-100, aid)),
		query(fmt.Sprintf("select abalance from pgbench_accounts where aid = %d", aid)),
		query(fmt.Sprintf("insert into pgbench_history (tid, bid, aid, delta, mtime) values (%d, 1, %d, %d, current_timestamp)", 1+i%10, aid, i-100)),
		query("commit")}
}

func upload() []byte {
	row := []byte(strings.Repeat("x", rowSize-1) + "\n")
	var b []byte
	for range rowCount {
		b = pgmsg.Append(b, 'd', row)
	}
	return pgmsg.Append(b, 'c')
}
