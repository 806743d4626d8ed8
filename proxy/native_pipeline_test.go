package proxy_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
)

// TestNativePipeline: requests that are sent without waiting for answers run in order under the client's context, whatever
// becomes of those before them: an error takes a lease's context away, and it is installed again in between.
func TestNativePipeline(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		f := startNative(t, inst, nil)
		var requests, want []string
		for i := range 40 {
			requests = append(requests, fmt.Sprintf("SELECT jwt('tenant_id') || %d", i), "SELECT 1/0", "BEGIN", "SELECT jwt('tenant_id')", "SELEC",
				"SELECT 1", "ROLLBACK", "SELECT count(*)::text FROM note")
			want = append(want, fmt.Sprintf("t7%d", i), "22012", "BEGIN", "t7", "42601", "25P02", "ROLLBACK", "10")
		}
		conn := f.connect(t, "t7").PgConn()
		for range 3 {
			if got := pipelined(t, conn, requests); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Fatalf("got  %v\nwant %v", got, want)
			}
		}
		if s := f.Log.String(); strings.Contains(s, "reason=handover_failed") || strings.Contains(s, "synchronization") {
			t.Errorf("the log: %s", s)
		}
	})
}

// pipelined sends requests, each with its own Sync, before it reads an answer; and gives the first value, the command's tag or
// the SQLSTATE of each.
func pipelined(t *testing.T, conn *pgconn.PgConn, requests []string) (got []string) {
	t.Helper()
	p := conn.StartPipeline(t.Context())
	for _, sql := range requests {
		p.SendQueryParams(sql, nil, nil, nil, nil)
		if err := p.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	for range requests {
		word := ""
		for {
			result, err := p.GetResults()
			if err != nil {
				word = sqlState(err)
				continue
			}
			if _, synced := result.(*pgconn.PipelineSync); synced || result == nil {
				break
			}
			if reader, ok := result.(*pgconn.ResultReader); ok {
				r := reader.Read()
				switch {
				case r.Err != nil:
					word = sqlState(r.Err)
				case len(r.Rows) > 0:
					word = string(r.Rows[0][0])
				default:
					word = r.CommandTag.String()
				}
			}
		}
		got = append(got, word)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestAttackCancelNativePipelines: the attacker cancels what the pool's connections do, without end, while clients send
// requests without waiting for answers.
//
// Must: Nothing ever runs under another identity, or twice; a client may lose its connection.
// Dialects: native
// Not sql: fences stand between native requests alone
// Not pgbouncer: it has no fences
func TestAttackCancelNativePipelines(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		f := startNative(t, inst, func(o *pgtest.ProxyOptions) {
			o.Pool = pgtest.DefaultPool()
			o.Pool.Size = 2
		})
		stop := f.cancelAll(t)
		var work sync.WaitGroup
		var mu sync.Mutex
		lost, ran := 0, 0
		for i := range 3 {
			work.Go(func() {
				tenant := fmt.Sprintf("t%d", i)
				for round := range 15 {
					conn, err := f.dial(t.Context(), f.role, f.issuer.Mint("user-of-"+tenant, map[string]any{"tenant_id": tenant}))
					if err != nil {
						continue
					}
					p := conn.PgConn().StartPipeline(t.Context())
					for n := range 20 {
						p.SendQueryParams("INSERT INTO done VALUES (jwt('tenant_id'), $1, $2)", [][]byte{[]byte(tenant), fmt.Appendf(nil, "%d", 100*round+n)}, nil, nil, nil)
						p.Sync()
					}
					err = p.Close()
					mu.Lock()
					if conn.IsClosed() {
						lost++
					} else {
						ran++
					}
					mu.Unlock()
					conn.Close(t.Context())
				}
			})
		}
		work.Wait()
		admin := stop()
		if got := value(t, admin, "SELECT count(*) FILTER (WHERE who IS DISTINCT FROM mine) || ' ' || count(*) - count(DISTINCT (mine, n)) FROM done"); got != "0 0" {
			t.Errorf("under another identity, and twice: %s", got)
		}
		if got := value(t, admin, "SELECT count(*) FROM done"); got == "0" {
			t.Error("nothing ran at all")
		}
		t.Logf("%d pipelines went through, %d lost their connection; %s rows", ran, lost, value(t, admin, "SELECT count(*) FROM done"))
	})
}
