package pgtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pool"
)

const scriptTables = `
create role wire login;
create table items (id int primary key, name text, constraint positive check (id > 0));
create table parents (id int primary key);
create table children (parent int references parents deferrable initially deferred);
create function noisy(text) returns text language plpgsql as $$begin raise notice 'noise %', $1; return $1; end$$;
create procedure two_transactions() language plpgsql as $$begin insert into items values (100, 'a'); commit; insert into items values (101, 'b'); end$$;
alter table items owner to wire;
grant select, insert, update, delete on all tables in schema public to wire;
`

// Every script must play the same straight at PostgreSQL and through the proxy, in transaction and in session mode. A script that
// is known to differ through the proxy stands in scripts/differences.txt with the reason, and beside it is a NAME.proxy.txt,
// which is played there instead.
func TestWireScripts(t *testing.T) {
	scripts, err := filepath.Glob("scripts/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	different := differences(t)
	EachVersion(t, func(t *testing.T, inst cluster.Installation) {
		if *update && inst != Newest(t) {
			return // the scripts are written by the newest version, and then compared on all
		}
		c := Start(t, inst, WithHBA("host all postgres 127.0.0.1/32 scram-sha-256\nhost all wire 127.0.0.1/32 trust\n"))
		c.Exec(t, "postgres", scriptTables)
		ways := [][2]string{{"direct", c.Address()}}
		if !*update {
			for _, mode := range []pool.Mode{pool.Session, pool.Transaction} {
				cfg := DefaultPool()
				cfg.Mode, cfg.Size = mode, 1 // one server: the second script finds what the first one has left
				p := StartProxy(t, ProxyOptions{Cluster: c, Pool: cfg, Role: "wire"})
				ways = append(ways, [2]string{string(mode), p.Address()})
				if mode == pool.Transaction {
					ways = append(ways, [2]string{"hand-overs", p.Address()})
				}
			}
		}
		for _, way := range ways {
			for _, file := range scripts {
				name := strings.TrimSuffix(filepath.Base(file), ".txt")
				if name == "differences" || strings.HasSuffix(name, ".proxy") {
					continue
				}
				t.Run(way[0]+"/"+name, func(t *testing.T) {
					c.Exec(t, "postgres", "truncate items, parents, children")
					if way[0] != "direct" && way[0] != string(pool.Session) && different[name] {
						file = "scripts/" + name + ".proxy.txt"
					}
					conn := Login(t, way[1], "postgres", "wire")
					defer conn.Close()
					var between func()
					if way[0] == "hand-overs" {
						if !strings.HasPrefix(name, "prepared") {
							return // others keep the server for reasons of their own
						}
						between = anotherIdentity(t, way[1])
					}
					RunScript(t, file, conn, way[0] == "direct", between)
				})
			}
		}
	})
}

// anotherIdentity gives a request of somebody else, for whom the one server connection is wiped.
func anotherIdentity(t *testing.T, address string) func() {
	return anotherIdentityOf(t, address, "postgres")
}

// differences reads scripts/differences.txt: NAME, then the reason.
func differences(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("scripts/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	different := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, _ := strings.Cut(line, " ")
		if _, err := os.Stat("scripts/" + name + ".proxy.txt"); err != nil || strings.TrimSpace(reason) == "" {
			t.Errorf("differences.txt: %q has no reason or no script for the proxy (%v)", name, err)
		}
		different[name] = true
	}
	return different
}

func TestScriptsAreReadAndWritten(t *testing.T) {
	const script = "# comment\n\n> Query \"select 1\"\n> Sync\nuntil ReadyForQuery ReadyForQuery\n< DataRow \"1\"\n< ReadyForQuery I\n\n> Terminate\nuntil close\n< close\n"
	list, err := parseScript(script)
	if err != nil {
		t.Fatal(err)
	}
	if got := formatScript(list); got != script {
		t.Errorf("got\n%s", got)
	}
	for _, bad := range []string{"> Query \"x\"\n", "nonsense\n", "< DataRow\n"} {
		if _, err := parseScript(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	for _, bad := range []string{"Nonsense", "Query \"open", "Raw 5", "Describe X"} {
		if _, err := appendMessage(nil, bad); err == nil {
			t.Errorf("%q was built", bad)
		}
	}
}
