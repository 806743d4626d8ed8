package pgtest

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// RandomExchanges are valid conversations of one client, in the notation of cases, from a seed: what a driver may send, mistakes
// included, and nothing whose answer depends on time, chance or other clients. wire's tables have to be there (see the tests).
func RandomExchanges(seed uint64, n int) []string {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0x70726f746f))}
	var list []string
	for range n {
		list = append(list, g.exchange()...)
	}
	return list
}

type generator struct{ *rand.Rand }

func (g *generator) pick(list ...string) string { return list[g.IntN(len(list))] }

// name is of a statement or portal; there are few, so that they meet.
func (g *generator) name() string { return g.pick("-", "s1", "s2", "s3") }

// statement is never the unnamed one of an earlier batch: where a batch fails, its Parse may be the end of that, or may have been
// skipped, and the proxy takes it for gone either way (docs/howto/drivers.md).
func (g *generator) statement() string { return g.pick("s1", "s2", "s3") }

func (g *generator) sql() string {
	return g.pick(
		"select 1 as a", "select 1; select 2", "select 1/0", "", ";", "-- nothing", "selec", "select * from nowhere",
		"begin", "commit", "rollback", "savepoint s", "rollback to s", "release s", "commit and chain", "rollback and chain",
		"begin isolation level serializable", "begin; select 1/0", "insert into items values (1, 'a')", "insert into items values (-1, 'b')",
		"insert into items values ("+fmt.Sprint(g.IntN(20))+", 'c') on conflict do nothing", "delete from items", "select id, name from items order by id",
		"select n, repeat('x', n * 100) from generate_series(1, 20) n", "select noisy('n')", "call two_transactions()", "vacuum items",
		"insert into children values (7)", "set local work_mem = '5MB'", "show work_mem", "copy (select n from generate_series(1, 4) n) to stdout",
		"select repeat('y', "+fmt.Sprint(g.IntN(70000))+") as t", "declare c cursor for select n from generate_series(1, 9) n", "fetch 3 from c",
		"close c", "do $$begin raise notice 'r'; end$$", "do $$begin raise exception 'e'; end$$", "select 'ä' as u", "discard plans",
	)
}

// parsed is SQL without what must be the first in its transaction: a statement that the proxy prepares anew in front of it, in the same
// batch, takes a snapshot.
func (g *generator) parsed() string {
	return strings.Replace(g.sql(), "begin isolation level serializable", "begin", 1)
}

// text is SQL for Parse, with or without a value.
func (g *generator) text() string {
	if g.IntN(3) > 0 {
		return g.parsed()
	}
	return g.pick("select $1::text as t", "select $1::int + 1 as n", "insert into items values ($1, 'p')", "select n from generate_series(1, $1::int) n")
}

func (g *generator) value() string { return g.pick(`"1"`, `"7"`, `"x"`, "NULL", `""`, `"12"`) }

// step is one message of the extended protocol, or a few that belong together.
func (g *generator) step() string {
	switch g.IntN(10) {
	case 0, 1:
		return fmt.Sprintf("P %s %q", g.name(), g.text())
	case 2:
		return fmt.Sprintf("B %s %s", g.name(), g.statement())
	case 3:
		return fmt.Sprintf("B - %s %s; E -", g.statement(), g.value())
	case 4:
		return "D " + g.pick("S "+g.statement(), "P "+g.name())
	case 5: // not a portal of an earlier batch: in a transaction that has failed, PostgreSQL 18.4 itself may end with a segmentation fault
		portal := g.statement()
		return fmt.Sprintf("B %s %s; E %s %d; E %s %d", portal, g.statement(), portal, g.IntN(3), portal, g.IntN(3))
	case 6:
		return "C " + g.pick("S ", "P ") + g.name()
	case 7:
		return "H"
	case 8:
		return fmt.Sprintf("P - %q; B - -; D P -; E -", g.parsed())
	}
	return fmt.Sprintf("P - %q; B - - %s; E -", g.text(), g.value())
}

// batch is messages of the extended protocol up to Sync.
func (g *generator) batch() string {
	var steps []string
	for range 1 + g.IntN(5) {
		steps = append(steps, g.step())
	}
	return strings.Join(append(steps, "S"), "; ")
}

// exchange is one write, or several that belong together.
func (g *generator) exchange() []string {
	switch g.IntN(13) {
	case 12: // all that belongs to a COPY at once: it begins, and so the first of two Syncs is not answered
		copied := `P - "copy items (id) from stdin"; B - -; E -; ` + g.pick("S; ", "") + g.rows() + g.pick("c", `f "no"`) + "; S"
		return []string{`Q "rollback"`, copied + g.pick(" @Z", fmt.Sprintf("; Q %q @Z Z", g.pick("select 1 as a", "select count(*) from items", "begin")))}
	case 0:
		return []string{`Q "rollback"`, `Q "copy items (id) from stdin" @G`, g.rows() + g.pick("c", `f "no"`) + " @Z"}
	case 1:
		return []string{`Q "rollback"`, `P - "copy items (id) from stdin"; B - -; E -; ` + g.pick("S", "H") + " @G", g.rows() + g.pick("c", `f "no"`) + "; S"}
	case 2:
		return []string{"F " + g.pick(`1317 "hello"`, `999999 "x"`, `1317 NULL`, "1317")}
	case 3, 4, 5:
		return []string{fmt.Sprintf("Q %q", g.sql())}
	}
	var parts []string
	for range 1 + g.IntN(4) {
		if g.IntN(3) == 0 {
			parts = append(parts, fmt.Sprintf("Q %q", g.sql()))
		} else {
			parts = append(parts, g.batch())
		}
	}
	return []string{strings.Join(parts, "; ")}
}

func (g *generator) rows() string {
	var b strings.Builder
	for range g.IntN(4) {
		b.WriteString(g.pick(`d "101\n"; `, `d "102\n103\n"; `, `d "x\n"; `, `d "-5\n"; `, `d "10"; d "4\n"; `))
	}
	return b.String()
}
