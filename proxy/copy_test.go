package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
)

// TestNativeCopyAtOnce: COPYs by Execute, each sent with its data in one write, and requests right behind them, run in order under the
// client's context, whatever becomes of those before them; and the server is anybody's again, with the client still there.
func TestNativeCopyAtOnce(t *testing.T) {
	pgtest.EachNativeVersion(t, func(t *testing.T, inst cluster.Installation) {
		f := startNative(t, inst, func(o *pgtest.ProxyOptions) {
			o.Pool = pgtest.DefaultPool()
			o.Pool.Size = 1
		})
		f.cluster.Exec(t, f.database, "CREATE TABLE copied (n int, who text DEFAULT jwt('tenant_id')); GRANT ALL ON copied TO PUBLIC")
		other := f.connect(t, "t8")
		for _, sync := range []bool{true, false} {
			hijacked, err := f.connect(t, "t7").PgConn().Hijack()
			if err != nil {
				t.Fatal(err)
			}
			front := hijacked.Frontend
			want := ""
			for i, row := range []string{"1\n", "x\n", "2\n", "3\n", "y\n"} {
				front.SendParse(&pgproto3.Parse{Query: "COPY copied (n) FROM STDIN"})
				front.SendBind(&pgproto3.Bind{})
				front.SendExecute(&pgproto3.Execute{})
				if sync {
					front.SendSync(&pgproto3.Sync{})
				}
				front.Send(&pgproto3.CopyData{Data: []byte(row)})
				front.Send(&pgproto3.CopyDone{})
				front.SendSync(&pgproto3.Sync{})
				front.SendQuery(&pgproto3.Query{String: fmt.Sprintf("SELECT jwt('tenant_id') || %d", i)})
				outcome := "COPY 1"
				if strings.ContainsAny(row, "xy") {
					outcome = "22P02"
				}
				want += fmt.Sprintf("%s | t7%d | ", outcome, i)
			}
			if err := front.Flush(); err != nil {
				t.Fatal(err)
			}
			if got := outcomes(t, front, 10); got != want {
				t.Errorf("sync ahead %v: got\n%s\nwant\n%s", sync, got, want)
			}
			if got := value(t, other, "SELECT string_agg(n || who, ' ' ORDER BY n) FROM copied"); got != "1t7 2t7 3t7" {
				t.Errorf("sync ahead %v: somebody else sees %q", sync, got)
			}
			f.cluster.Exec(t, f.database, "TRUNCATE copied")
			if err := hijacked.Conn.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// outcomes reads the answers to n requests: values, tags of COPY, and SQLSTATEs.
func outcomes(t *testing.T, front *pgproto3.Frontend, n int) (got string) {
	t.Helper()
	for n > 0 {
		m, err := front.Receive()
		if err != nil {
			t.Fatalf("%v behind %s", err, got)
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			got += string(m.Values[0])
		case *pgproto3.CommandComplete:
			if tag := pgconn.NewCommandTag(string(m.CommandTag)); !tag.Select() {
				got += tag.String()
			}
		case *pgproto3.ErrorResponse:
			got += m.Code
		case *pgproto3.ReadyForQuery:
			got += " | "
			n--
		}
	}
	return got
}
