//go:build linux

package fakepg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/claimpool/claimpool/bench/pgmsg"
)

// Replies that are always the same.
var (
	parseComplete = pgmsg.Append(nil, '1')
	bindComplete  = pgmsg.Append(nil, '2')
	closeComplete = pgmsg.Append(nil, '3')
	noData        = pgmsg.Append(nil, 'n')
	noParameters  = pgmsg.Append(nil, 't', pgmsg.Int16(0))
)

// answer is all that the fake server knows about a statement: the bytes to reply.
type answer struct {
	shape  []byte // to Describe: RowDescription or NoData
	rows   []byte // to Execute: the rows and CommandComplete
	table  []byte // to a simple Query: both
	status byte   // the transaction status that it leads to; 0 changes nothing
	copyIn bool   // CopyInResponse: rows come from the client
	fresh  bool   // to be worked out anew each time
}

// answers remembers the answers that were worked out before, by their SQL.
type answers map[string]*answer

// maxAnswers bounds the memory that statements with ever new literals would take.
const maxAnswers = 10_000

func (known answers) find(sql []byte) *answer {
	if a := known[string(sql)]; a != nil { // this form of look-up does not allocate
		return a
	}
	a := newAnswer(string(sql))
	if len(known) < maxAnswers && !a.fresh {
		known[string(sql)] = a
	}
	return a
}

// longResult is the one query with a result of chosen size; it means the same to a real PostgreSQL.
var longResult = regexp.MustCompile(`(?i)select repeat\('x', *(\d+)\) from generate_series\(1, *(\d+)\)`)

func newAnswer(sql string) *answer {
	words := strings.Fields(strings.ToUpper(sql))
	if len(words) == 0 {
		empty := pgmsg.Append(nil, 'I')
		return &answer{shape: noData, rows: empty, table: empty}
	}
	switch words[0] {
	case "SELECT", "SHOW", "WITH", "VALUES", "TABLE":
		return selection(sql)
	case "BEGIN", "START":
		return command("BEGIN", 'T')
	case "COMMIT", "END":
		return command("COMMIT", 'I')
	case "ROLLBACK", "ABORT":
		return command("ROLLBACK", 'I')
	case "INSERT":
		return command("INSERT 0 1", 0)
	case "UPDATE", "DELETE":
		return command(words[0]+" 1", 0)
	case "DISCARD", "CREATE", "DROP", "ALTER":
		return command(strings.Join(words[:min(2, len(words))], " "), 0)
	case "COPY":
		if !strings.Contains(strings.ToUpper(sql), "STDIN") {
			return copyOut()
		}
		in := pgmsg.Append(nil, 'G', []byte{0}, pgmsg.Int16(1), pgmsg.Int16(0))
		return &answer{shape: noData, rows: in, table: in, copyIn: true}
	}
	return command(words[0], 0)
}

func command(tag string, status byte) *answer {
	done := pgmsg.Append(nil, 'C', pgmsg.String(tag))
	return &answer{shape: noData, rows: done, table: done, status: status}
}

// greeting is what claimpool asks a new server connection when the trusted context is in the SQL dialect: the answer names
// the connection and tells the time.
const greeting = "claimpool.greeting()"

func selection(sql string) *answer {
	value, rows := []byte("1"), 1
	greets := strings.Contains(sql, greeting)
	if greets {
		value = fmt.Appendf(nil, "v1|bench|%d", time.Now().UnixMilli())
	}
	if m := longResult.FindStringSubmatch(sql); m != nil {
		width, _ := strconv.Atoi(m[1])
		rows, _ = strconv.Atoi(m[2])
		value = bytes.Repeat([]byte{'x'}, min(width, maxMessage))
		rows = min(rows, 1<<20)
	}
	a := &answer{fresh: greets, shape: pgmsg.Append(nil, 'T', pgmsg.Int16(1), pgmsg.String("?column?"),
		pgmsg.Int32(0), pgmsg.Int16(0), pgmsg.Int32(25), pgmsg.Int16(-1), pgmsg.Int32(-1), pgmsg.Int16(0))}
	for range rows {
		a.rows = pgmsg.Append(a.rows, 'D', pgmsg.Int16(1), pgmsg.Int32(len(value)), value)
	}
	a.rows = pgmsg.Append(a.rows, 'C', pgmsg.String("SELECT "+strconv.Itoa(rows)))
	a.table = append(bytes.Clone(a.shape), a.rows...)
	return a
}

func copyOut() *answer {
	b := pgmsg.Append(nil, 'H', []byte{0}, pgmsg.Int16(1), pgmsg.Int16(0))
	b = pgmsg.Append(b, 'd', []byte("1\n"))
	b = pgmsg.Append(b, 'c')
	b = pgmsg.Append(b, 'C', pgmsg.String("COPY 1"))
	return &answer{shape: noData, rows: b, table: b}
}

// functionCall answers a FunctionCall with its second argument, as set_config(name, value, is_local) would, or with an
// empty value.
func functionCall(body []byte) []byte {
	null := pgmsg.Append(nil, 'V', pgmsg.Int32(-1))
	skip := func(n int) bool {
		if n < 0 || len(body) < n {
			return false
		}
		body = body[n:]
		return true
	}
	if len(body) < 6 || !skip(6+2*int(binary.BigEndian.Uint16(body[4:]))) || !skip(2) {
		return null
	}
	for i := 0; len(body) >= 4; i++ {
		n := int(int32(binary.BigEndian.Uint32(body)))
		body = body[4:]
		if n < 0 {
			continue
		}
		if n > len(body) {
			return null
		}
		if i == 1 {
			return pgmsg.Append(nil, 'V', pgmsg.Int32(n), body[:n])
		}
		body = body[n:]
	}
	return pgmsg.Append(nil, 'V', pgmsg.Int32(0))
}
