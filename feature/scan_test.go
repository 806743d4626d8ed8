package feature

import (
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	for _, test := range []struct {
		sql  string
		want Uses
	}{
		{"", 0}, {"select 1", 0}, {"insert into t values ('listen x; prepare p')", 0}, {"update t set a = 1", 0}, {"begin", 0},
		{"  \n-- listen\n/* set /* x */ */ LISTEN a", Listen}, {"listener", 0}, {"UNLISTEN *", Unlisten}, {"deallocate p", Deallocate},
		{"select pg_advisory_lock(1)", Lock}, {"SELECT PG_TRY_ADVISORY_LOCK(1)", Lock}, {"select pg_advisory_lock_shared($1)", Lock},
		{"select pg_advisory_xact_lock(1)", 0}, {"select pg_try_advisory_xact_lock_shared(1)", 0}, {"select pg_advisory_unlock_all()", Unlock},
		{"with x as (select pg_try_advisory_lock(id) from t) select pg_advisory_unlock(2)", Lock | Unlock},
		{"create temp table t (a int)", Temporary}, {"CREATE OR REPLACE LOCAL TEMPORARY VIEW v AS SELECT 1", Temporary},
		{"create table if not exists pg_temp.t (a int)", Temporary}, {"create table temperature (a int)", 0},
		{"create temp table t (a int) on commit drop", 0}, {"create temp table t (a int) on /**/ commit\ndrop; select 1", 0},
		{"create temp table t (a int) on commit delete rows", Temporary}, {"create temp table \"on commit drop\" (a int)", Temporary},
		{"declare c cursor with hold for select 1", Hold}, {"declare \"c\" binary scroll cursor with hold for select 1", Hold},
		{"declare c cursor for select 'with hold'", 0}, {"declare c cursor without hold for select 1", 0},
		{"set a = 1", Set}, {"SET SESSION a TO 1", Set}, {"set local a = 1", 0}, {"set transaction isolation level serializable", 0},
		{"set constraints all deferred", 0}, {"set local.a = 1", Set}, {"set role x", Set}, {"settle", 0},
		{"set session characteristics as transaction read only", Set},
		{"prepare p as select 1", Prepare}, {"prepare transaction 'x'", 0}, {"PREPARE\tp AS SELECT 1", Prepare},
		{"begin; listen a; commit", Listen}, {"select ';'; set a = 1", Set}, {"select 'a;listen b'", 0}, {"select $$;listen b$$", 0},
		{"select $x$;$$listen b;$x$; prepare p as select 1;", Prepare}, {"select E'\\';listen b'", 0}, {"select \";listen b\"; unlisten a", Unlisten},
		{"select 1 /* ; listen b */", 0}, {"select 1 -- ; listen b\n", 0}, {"select $1; listen b", Listen}, {"select 1;;;", 0},
		{";;listen a", Listen}, {"select 1; create temp table a (b int); declare c cursor with hold for select 1", Temporary | Hold},
	} {
		if got := Scan([]byte(test.sql)); got != test.want {
			t.Errorf("%q: %b, want %b", test.sql, got, test.want)
		}
	}
}

func TestSettingName(t *testing.T) {
	for sql, want := range map[string]string{
		"set Work_Mem = 1": "work_mem", "SET SESSION a TO b": "a", "set time zone 'UTC'": "timezone", "set names 'x'": "client_encoding",
		"set my.own = 1": "my.own", "set role x": "", "set session authorization x": "", "set": "", "select": "", "set a": "",
	} {
		if got := SettingName([]byte(sql)); got != want {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
}

func TestCommands(t *testing.T) {
	for sql, want := range map[string]string{
		"listen A": "LISTEN a", "listen \"A\"\"b\";": "LISTEN A\"b", "unlisten *": "UNLISTEN ", ";; listen a ; unlisten b": "LISTEN a,UNLISTEN b",
		"deallocate p": "DEALLOCATE p", "DEALLOCATE PREPARE P": "DEALLOCATE p", "deallocate all": "DEALLOCATE ALL ",
		"deallocate prepare all": "DEALLOCATE ALL ", "deallocate prepare": "DEALLOCATE prepare", "deallocate \"all\"": "DEALLOCATE all",
		"listen " + strings.Repeat("x", 63): "LISTEN " + strings.Repeat("x", 63),
		"":                                  "", "listen": "", "listen a b": "", "listen a; select 1": "", "listen \"a": "", "listen ä": "", "listen 'a'": "", "listen \"\"": "",
		"listen U&\"a\"": "", "listen " + strings.Repeat("x", 64): "", "unlisten": "", "deallocate": "", "listen 1": "", "listen a /*": "LISTEN a",
	} {
		list, ok := Commands([]byte(sql))
		var words []string
		for _, c := range list {
			words = append(words, c.Tag()+" "+c.Name)
		}
		if got := strings.Join(words, ","); got != want || ok != (want != "") {
			t.Errorf("%s: %q %v, want %q", sql, got, ok, want)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, seed := range []string{"listen \"a\"\"b", "select E'\\", "select $a$;$a$;set", "/* /* */", "declare \"", "create temp table t on commit drop", "set a.b.", "deallocate prepare", "notify \"", "select pg_notify(''"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sql []byte) {
		uses := Scan(sql)
		if Scan(sql) != uses || First(sql)&^(uses|Lock|Unlock) != 0 {
			t.Errorf("%q: %b, and first %b", sql, uses, First(sql))
		}
		SettingName(sql)
		for _, channel := range Sent(sql) {
			if channel == "" {
				t.Errorf("%q sends on no channel", sql)
			}
		}
		if list, ok := Commands(sql); ok && (len(list) == 0 || list[0].Use&(Listen|Unlisten|Deallocate) == 0) {
			t.Errorf("%q: %v", sql, list)
		}
	})
}

// What ordinary statements pay. go test -bench Scan ./feature
func BenchmarkScan(b *testing.B) {
	for name, sql := range map[string]string{
		"select 1": "select 1",
		"pgbench":  "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2;",
		"select":   "SELECT id, tenant_id, name, created_at FROM orders WHERE tenant_id = $1 AND state = $2 ORDER BY created_at DESC LIMIT 50",
		"commit":   "COMMIT",
		"8 KiB":    "SELECT '" + strings.Repeat("x", 8<<10) + "'",
	} {
		text := []byte(sql)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if Scan(text) != 0 {
					b.Fatal("found something")
				}
			}
		})
	}
}
