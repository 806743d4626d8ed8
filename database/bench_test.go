package database_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/pgtest"
	"github.com/claimpool/claimpool/wire"
)

// BenchmarkRead gives the server's own CPU time per call of jwt('sub'), and of what a hand-over and its neighbours cost: time on
// the clock tells little on a machine that others use.
func BenchmarkRead(b *testing.B) {
	for _, inst := range pgtest.Versions(b) {
		p := prepare(b, pgtest.Shared(b, inst))
		s := p.login(b).set("")
		pid := s.PgConn().PID()
		seal, err := s.key.Sealer().AppendSeal(nil, s.binding, s.now(), time.Hour, []byte(`{"sub":"alice","tenant_id":7,"pad":"`+strings.Repeat("x", 140)+`"}`))
		if err != nil {
			b.Fatal(err)
		}
		s.set(string(seal))
		for _, sql := range []string{"jwt('sub')", "current_setting('claimpool.context')::text"} {
			b.Run(fmt.Sprintf("pg%d/%s", inst.Major, sql), func(b *testing.B) {
				before := cpu(b, pid)
				s.ask("select count(x)::text from (select "+sql+" || i::text as x from generate_series(1, $1::int) i offset 0) q", b.N)
				b.ReportMetric(float64((cpu(b, pid)-before).Nanoseconds())/float64(b.N)/1000, "cpu-µs/op")
			})
		}
		conn, err := s.PgConn().Hijack()
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Conn.Close()
		for _, test := range []struct {
			name string
			msg  []byte
		}{
			{"select 1", wire.AppendQuery(nil, "select 1")},
			{"fastpath no-op", wire.AppendFunctionCall(nil, 2026)}, // pg_backend_pid()
			{"install", wire.AppendFunctionCall(nil, 2078, []byte("claimpool.context"), seal, []byte("f"))},
			{"reset all", wire.AppendQuery(nil, "RESET ALL")},
			{"discard all", wire.AppendQuery(nil, "DISCARD ALL")},
		} {
			b.Run(fmt.Sprintf("pg%d/%s", inst.Major, test.name), func(b *testing.B) {
				before := cpu(b, pid)
				for range b.N {
					exchange(b, conn.Conn, test.msg)
				}
				b.ReportMetric(float64((cpu(b, pid)-before).Nanoseconds())/float64(b.N)/1000, "cpu-µs/op")
			})
		}
	}
}

// cpu is the user and system time of a process (proc(5), fields 14 and 15, in hundredths of a second).
func cpu(b *testing.B, pid uint32) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+2:])
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}
