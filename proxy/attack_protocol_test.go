package proxy_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/wire"
)

// alone is true only on a server connection that is in nobody's transaction.
const alone = "SELECT (now() = statement_timestamp() AND pg_current_xact_id_if_assigned() IS NULL)::text || ' ' || (" + whoami + ")"

func join(messages ...[]byte) []byte { return bytes.Join(messages, nil) }

// message is any message, also such as no honest client sends.
func message(typ byte, body string) []byte {
	b := append([]byte{typ}, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[1:], uint32(len(body)+4))
	return append(b, body...)
}

// TestAttackPretendIdle: the attacker wants the proxy to believe that his transaction is over while it is not, so that the
// next client works inside it, or gets his answers. He mixes the two protocols, leaves Sync out, sends it where it does not
// count, begins COPY in the middle of a pipeline and answers it before or after its time.
//
// Must: Whatever he does, his neighbours are alone on their server connections and get their own rows.
// Dialects: sql, native, pgbouncer
func TestAttackPretendIdle(t *testing.T) {
	sync, flush := wire.AppendSync(nil), wire.AppendFlush(nil)
	query := func(sql string) []byte { return wire.AppendQuery(nil, sql) }
	begin, update := extended("BEGIN"), extended("UPDATE note SET body = 'a' WHERE tenant = jwt('tenant_id')")
	load, row, done, fail := "COPY own_notes FROM STDIN", wire.AppendCopyData(nil, []byte("x\n")), wire.AppendCopyDone(nil), wire.AppendCopyFail(nil, "no")
	eachTenants(t, 2, func(t *testing.T, f *tenants) {
		f.cluster.Exec(t, f.database, "CREATE TABLE own_notes (body text); GRANT ALL ON own_notes TO "+f.role)
		b, c := f.raw(t, "t2"), f.raw(t, "t3")
		for _, test := range []struct {
			name  string
			parts [][]byte // sent one after the other, each after a little while
		}{
			{"flush in place of sync", [][]byte{join(begin, update, flush)}},
			{"nothing in place of sync", [][]byte{join(begin, update)}},
			{"query in an unsynced batch", [][]byte{join(begin, update, query("SELECT 1"))}},
			{"query in a failed batch", [][]byte{join(extended("SELECT 1/0"), query("SELECT 1"), query("SELECT 2"), sync)}},
			{"query between batch and sync", [][]byte{join(begin, query("SELECT 1"), sync, begin, update, flush)}},
			{"begin behind a query", [][]byte{join(query("SELECT 1"), begin, update, flush)}},
			{"commit and begin in one query", [][]byte{query("BEGIN"), query("COMMIT; BEGIN; UPDATE note SET body = 'a' WHERE tenant = jwt('tenant_id')")}},
			{"commit and chain", [][]byte{query("BEGIN; SELECT 1; COMMIT AND CHAIN")}},
			{"pipeline of transactions", [][]byte{join(query("BEGIN"), query("COMMIT"), query("BEGIN"), query("ROLLBACK"), query("BEGIN"), update, flush)}},
			{"copy by query, then sync", [][]byte{query(load), sync, join(row, sync)}},
			{"copy by query, then query", [][]byte{query(load), query("SELECT 1"), query("BEGIN")}},
			{"copy and query at once", [][]byte{join(query(load), row, done, query("BEGIN"))}},
			{"copy and sync at once", [][]byte{join(query(load), sync, row, done, query("BEGIN"))}},
			{"two copies, the second early", [][]byte{join(query(load+"; "+load), done, done, query("BEGIN"))}},
			{"copy by execute and sync", [][]byte{join(extended(load), sync), join(row, done), query("BEGIN")}},
			{"copy by execute, done too early", [][]byte{join(extended(load), row, done, sync), join(begin, update, flush)}},
			{"copy by execute with flush", [][]byte{join(extended(load), flush), sync, sync, join(done, sync), join(begin, flush)}},
			{"copy by execute, failed", [][]byte{join(extended(load), sync), join(fail, sync), join(begin, update, flush)}},
			{"copy by execute, failed, no sync", [][]byte{join(extended(load), sync), fail, begin, query("SELECT 1")}},
			{"copy with a parse inside", [][]byte{query(load), join(row, begin, update), sync}},
			{"copy with a bad row, then sync", [][]byte{join(extended("COPY note (id) FROM STDIN"), sync), join(wire.AppendCopyData(nil, []byte("bad\n")), sync), sync, begin}},
			{"pipelined copies", [][]byte{join(extended(load), sync, extended(load), sync, row, done, sync, done, sync, begin, flush)}},
			{"copy messages without copy", [][]byte{join(row, done, fail, query("SELECT 1"), done, row, query("BEGIN"))}},
			{"done without copy in a transaction", [][]byte{query("BEGIN"), join(done, fail, sync, done)}},
			{"function call in a batch", [][]byte{join(begin, wire.AppendFunctionCall(nil, 2026), update, flush)}},
			{"function call that does not exist", [][]byte{join(wire.AppendFunctionCall(nil, 1), wire.AppendFunctionCall(nil, 99999999), query("BEGIN"))}},
			{"sync with a body", [][]byte{join(begin, message('S', "garbage"), message('S', ""), begin, flush)}},
			{"sync with a body in COPY", [][]byte{query(load), join(message('S', "x"), message('H', "x"))}},
			{"many syncs", [][]byte{join(bytes.Repeat(sync, 1000), begin, flush)}},
			{"query without an end", [][]byte{join(message('Q', "BEGIN"), message('Q', ""), query("BEGIN"))}},
			{"empty queries", [][]byte{join(query(""), query(";"), query("BEGIN"))}},
			{"broken messages of the extended protocol", [][]byte{join(message('P', "a"), message('B', ""), message('E', "\x00\xff\xff"), sync, message('D', "Z\x00"), message('C', "?\x00"), flush)}},
			{"procedure that commits", [][]byte{query("DO $$ BEGIN UPDATE note SET body = 'a'; COMMIT; UPDATE note SET body = 'b'; END $$"), query("BEGIN")}},
			{"portal half read and synced", [][]byte{query("BEGIN"), join(wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", "SELECT generate_series(1, 9)"), "p", "", nil), "p", 1), sync)}},
			{"half a message", [][]byte{join(query("BEGIN"), query("SELECT 1")[:9])}},
			{"half a header", [][]byte{join(query("SELECT 1"), sync[:2])}},
			{"listen and notify", [][]byte{query("LISTEN a; NOTIFY a; BEGIN; NOTIFY a")}},
		} {
			t.Run(test.name, func(t *testing.T) {
				b.SetDeadline(time.Now().Add(patience))
				c.SetDeadline(time.Now().Add(patience))
				a := f.raw(t, "t1")
				for i := 0; i <= len(test.parts); i++ {
					if i < len(test.parts) {
						a.Write(test.parts[i]) // he may have been thrown out already
					}
					for range 3 {
						for tenant, conn := range map[string]*peer{"t2": b, "t3": c} {
							if got := conn.one(alone); got != "true "+own(tenant) {
								t.Errorf("after part %d, %s sees %s", i, tenant, got)
							}
						}
					}
				}
				a.Close()
				if got := b.one(alone); got != "true "+own("t2") {
					t.Errorf("after his end, t2 sees %s", got)
				}
			})
		}
		b.leave()
		c.leave()
		f.atRest(t, 0, 2)
	})
}

// TestAttackGarbage: the attacker sends messages that a seeded generator makes: right and wrong types, right and wrong bodies,
// in every order.
//
// Must: His neighbour is not disturbed, and when he is gone, everything is at rest.
// Dialects: sql, native, pgbouncer
func TestAttackGarbage(t *testing.T) {
	eachTenants(t, 3, func(t *testing.T, f *tenants) {
		b := f.raw(t, "t2")
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 1))
		for range 40 {
			a := f.raw(t, "t1")
			a.SetDeadline(time.Now().Add(200 * time.Millisecond))
			b.SetDeadline(time.Now().Add(patience))
			done := make(chan struct{})
			go func() { defer close(done); everything(a) }()
			for range 1 + r.IntN(30) {
				if _, err := a.Write(garbage(r)); err != nil {
					break
				}
			}
			if got := b.one(alone); got != "true "+own("t2") {
				t.Errorf("the neighbour sees %s", got)
			}
			a.Close()
			<-done
		}
		b.leave()
		f.atRest(t, 0, 3)
	})
}

var sqlPieces = []string{"BEGIN", "COMMIT", "ROLLBACK", "SELECT 1", "SELECT 1/0", "SELECT", "'", "COPY note TO STDOUT", "DISCARD ALL", "RESET ALL", "SET client_encoding = SJIS", "LISTEN x", "NOTIFY x", "\xff\xfe", ""}

func garbage(r *rand.Rand) []byte {
	sql := sqlPieces[r.IntN(len(sqlPieces))]
	junk := make([]byte, r.IntN(200))
	for i := range junk {
		junk[i] = byte(r.Uint32())
	}
	switch r.IntN(12) {
	case 0, 1, 2:
		return wire.AppendQuery(nil, sql)
	case 3, 4:
		return extended(sql)
	case 5, 6:
		return wire.AppendSync(nil)
	case 7:
		return wire.AppendFlush(nil)
	case 8:
		return message("QPBEDCSHFdcf"[r.IntN(12)], string(junk))
	case 9:
		return join(wire.AppendCopyData(nil, junk), wire.AppendCopyDone(nil))
	case 10:
		if r.IntN(4) == 0 {
			return junk
		}
		return wire.AppendFunctionCall(nil, r.Uint32N(4000), junk)
	default:
		return join(wire.AppendQuery(nil, sql), wire.AppendSync(nil), wire.AppendQuery(nil, sql))
	}
}

// inUse is the memory in use after a collection. The proxy is in the test's own process.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestAttackMemory: the attacker wants the proxy's memory: with messages of hundreds of megabytes, with headers that promise a
// gigabyte, with settings by the thousand that the proxy remembers for him.
//
// Must: It stays within a few megabytes.
// Dialects: sql, native
// Not pgbouncer: memory is measured in the test's own process
func TestAttackMemory(t *testing.T) {
	const allowed = 16 << 20
	eachDialectAlone(t, []string{sql, native}, func(t *testing.T, start starter) {
		f := start(t, poolOf(2))
		b := f.connect(t, "t2")
		mustBe(t, b, "t2")
		before := inUse()
		check := func(what string) {
			t.Helper()
			if after := inUse(); after > before+allowed {
				t.Errorf("%s: %d MB more", what, (after-before)>>20)
			}
			mustBe(t, b, "t2")
		}

		a := f.raw(t, "t1")
		head := message('Q', "")
		binary.BigEndian.PutUint32(head[1:], 100<<20)
		a.Write(head)
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for range 60 {
			a.Write(chunk)
		}
		check("a long query")
		a.Close()

		for range 50 {
			a := f.raw(t, "t1")
			binary.BigEndian.PutUint32(head[1:], 1<<30)
			a.Write(head)
			a.Write(chunk[:30_000])
			defer a.Close()
		}
		check("promises")

		// PostgreSQL reports application_name (63 bytes), from 18 on search_path, too.
		a = f.raw(t, "t1")
		long := strings.Repeat(strings.Repeat("x", 60)+", ", 190)
		for i := range 2_000 {
			a.send(wire.AppendQuery(nil, fmt.Sprintf("SET search_path = %sx%d; SET application_name = 'n%d'", long, i, i)))
			if got := a.answer(); got != "C(SET) C(SET) Z(I)" {
				t.Fatal(got)
			}
		}
		check("settings")
	})
}
