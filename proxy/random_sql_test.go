package proxy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/claimpool/claimpool/wire"
)

// statement is one piece of random SQL. Its rows begin with the nonce, and the rest of each row names whose it is.
type statement struct {
	sql    string
	nonce  string
	writes bool // one row of the table did, with the nonce
	copies bool // it wants COPY data: the nonce
	alone  bool // neither a transaction nor a pipeline may hold it
}

func (s statement) String() string { return fmt.Sprintf("%q", s.sql) }

// author writes random SQL for one tenant.
type author struct {
	r      *rand.Rand
	tenant string
	number int
	count  int
	rogue  bool // it ends its neighbours' server connections
}

func (a *author) pick(list ...string) string { return list[a.r.IntN(len(list))] }

// rows are questions whose every row must be the tenant's own: NONCE stands for the nonce, ME for what jwt() says.
var rows = []string{
	`SELECT 'NONCE', ME, tenant FROM note ORDER BY random() LIMIT 3`,
	`SELECT 'NONCE', ME, coalesce(string_agg(DISTINCT tenant, ','), 'nobody') FROM note`,
	`SELECT 'NONCE', ME, a.tenant, b.tenant FROM note a JOIN note b USING (tenant) LIMIT 5`,
	`WITH x AS MATERIALIZED (SELECT tenant FROM note) SELECT 'NONCE', ME, tenant FROM x, generate_series(1, 3) LIMIT 7`,
	`UPDATE note SET body = md5(random()::text) WHERE id % 3 = 0 RETURNING 'NONCE', ME, tenant`,
	`SELECT 'NONCE', ME, ME FROM pg_sleep(random() * 0.01)`,
	`SELECT 'NONCE', ME, tenant FROM (SELECT tenant, row_number() OVER () n FROM note) x WHERE n < 3`,
	`SELECT 'NONCE', ME, string_agg(DISTINCT tenant, ',') FROM note GROUP BY body LIMIT 3`,
	`SELECT 'NONCE', ME, count(pg_cancel_backend(pid)) * 0 || '' FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()`,
	leftOvers,
}

// leftOvers names the owners of all that can be left on a server connection.
const leftOvers = `SELECT 'NONCE', ME, mark FROM (
	SELECT split_part(name, '_', 2) mark FROM pg_prepared_statements WHERE name LIKE 'stmt\_%'
	UNION ALL SELECT split_part(c, '_', 2) FROM pg_listening_channels() c
	UNION ALL SELECT split_part(relname, '_', 2) FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relname LIKE 'tmp\_%'
	UNION ALL SELECT split_part(name, '_', 2) FROM pg_cursors WHERE name LIKE 'cur\_%'
	UNION ALL SELECT 't' || objid FROM pg_locks WHERE locktype = 'advisory' AND classid = 7 AND pid = pg_backend_pid()
	UNION ALL SELECT split_part(current_setting('application_name'), '_', 2) WHERE current_setting('application_name') LIKE 'app\_%'
	UNION ALL SELECT split_part(current_setting('my.mark', true), '_', 2) WHERE current_setting('my.mark', true) LIKE 'app\_%'
	UNION ALL SELECT ME) x`

// state leaves something behind; WHO stands for the tenant.
var state = []string{
	`SET application_name = 'app_WHO'`, `SET my.mark = 'app_WHO'`, `SELECT set_config('my.mark', 'app_WHO', true) WHERE false`,
	`CREATE TEMP TABLE IF NOT EXISTS tmp_WHO_1 (x int)`, `CREATE TEMP TABLE IF NOT EXISTS tmp_WHO_2 AS SELECT tenant FROM note`,
	`LISTEN chan_WHO`, `DECLARE cur_WHO CURSOR WITH HOLD FOR SELECT tenant FROM note`, `CLOSE ALL`,
	`SELECT FROM (SELECT pg_try_advisory_lock(7, NUMBER)) x`, `SELECT FROM (SELECT setseed(0.5)) x`, `SET search_path = pg_temp, public`,
	`SET statement_timeout = 50`, `SET work_mem = '1MB'`, `PREPARE stmt_WHO_NUMBER AS SELECT tenant FROM note`, `DEALLOCATE ALL`,
	`SET default_transaction_isolation = 'serializable'`, `NOTIFY chan_WHO, 'for WHO alone'`,
}

var failing = []string{
	`SELECT 1/0`, `SELEC`, `SELECT * FROM nothing`, `INSERT INTO note VALUES (-1, 'somebody', 'else')`,
	`DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '28000'; END $$`, `SELECT jwt('tenant_id')::int`, `COPY nothing FROM STDIN`,
	`DO $$ BEGIN PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN RAISE EXCEPTION 'twice'; END $$`,
}

// next writes a statement that may stand anywhere, but for alone.
func (a *author) next() statement {
	a.count++
	s := statement{nonce: fmt.Sprintf("%s.%d", a.tenant, a.count)}
	switch n := a.r.IntN(100); {
	case n < 45:
		s.sql = a.pick(rows...)
	case n < 60:
		s.sql, s.writes = `INSERT INTO did (nonce) VALUES ('NONCE') RETURNING nonce, who, who`, true
	case n < 75:
		s.sql = a.pick(state...)
	case n < 85:
		s.sql = a.pick(failing...)
	case n < 90:
		s.sql = `COPY (SELECT 'NONCE', ME, tenant FROM note LIMIT 20) TO STDOUT`
	case n < 94:
		s.sql, s.copies, s.alone = `COPY did (nonce) FROM STDIN`, true, true
	case n < 97:
		s.sql, s.alone = a.pick(`RESET ALL`, `DISCARD ALL`, `DISCARD TEMP`), true
	case n < 98 && a.rogue:
		s.sql = `SELECT 'NONCE', ME, count(pg_terminate_backend(pid)) * 0 || '' FROM
			(SELECT pid FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) x`
	default:
		s.sql = `DO $$ BEGIN PERFORM tenant FROM note; END $$`
	}
	s.sql = strings.NewReplacer("NONCE", s.nonce, "NUMBER", fmt.Sprint(a.number), "WHO", a.tenant,
		"ME", "coalesce(jwt('tenant_id'), 'nobody')").Replace(s.sql)
	return s
}

// request is what one ReadyForQuery answers.
type request struct {
	bytes []byte
	what  []statement
}

// requests writes what is sent at once: one request, or a pipeline. status is that of the transaction.
func (a *author) requests(status byte) []request {
	switch n := a.r.IntN(10); {
	case status == wire.StatusFailed && n < 8, status == wire.StatusInTransaction && n < 3:
		return []request{a.plain(a.pick("ROLLBACK", "COMMIT"))}
	case status == wire.StatusIdle && n < 2:
		return []request{a.plain(a.pick("BEGIN", "BEGIN", "BEGIN ISOLATION LEVEL SERIALIZABLE", "START TRANSACTION READ ONLY"))}
	case status != wire.StatusIdle && n == 9:
		return []request{a.plain(a.pick("SAVEPOINT a", "ROLLBACK TO a", "RELEASE a"))}
	}
	s := a.next()
	if s.alone {
		for status != wire.StatusIdle && s.alone {
			s = a.next()
		}
		return []request{{wire.AppendQuery(nil, s.sql), []statement{s}}}
	}
	list := []request{a.request(s)}
	for a.r.IntN(3) == 0 {
		if s = a.next(); !s.alone {
			list = append(list, a.request(s))
		}
	}
	return list
}

func (a *author) plain(sql string) request {
	return request{wire.AppendQuery(nil, sql), []statement{{sql: sql}}}
}

// request puts one or two statements into the form of the simple or the extended protocol.
func (a *author) request(first statement) request {
	q := request{what: []statement{first}}
	if second := a.next(); !second.alone && a.r.IntN(4) == 0 {
		q.what = append(q.what, second)
	}
	if a.r.IntN(2) == 0 {
		texts := []string{}
		for _, s := range q.what {
			texts = append(texts, s.sql)
		}
		q.bytes = wire.AppendQuery(nil, strings.Join(texts, "; "))
		return q
	}
	for _, s := range q.what {
		q.bytes = append(q.bytes, extended(s.sql)...)
	}
	q.bytes = wire.AppendSync(q.bytes)
	return q
}

// nap is how long somebody waits before he does something nasty.
func (a *author) nap() time.Duration { return time.Duration(a.r.IntN(8000)) * time.Microsecond }
