package pgtest

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/claimpool/claimpool/pool"
)

const (
	v30 = 3 << 16
	v32 = 3<<16 | 2
)

// TestStartups: what clients may say at their start has the answers that PostgreSQL 18 gives, in session mode: kinds of messages, versions,
// codes of errors, lengths of keys, and what a setting is afterwards. Two things differ, and are not here: protocol 2.0 is refused in the form of
// protocol 3, and a parameter that is there twice is refused.
func TestStartups(t *testing.T) {
	c := Start(t, Newest(t), WithHBA("host all postgres 127.0.0.1/32 scram-sha-256\nhost all wire 127.0.0.1/32 trust\n"))
	c.Exec(t, "postgres", caseTables)
	cfg := DefaultPool()
	cfg.Mode = pool.Session
	p := StartProxy(t, ProxyOptions{Cluster: c, Pool: cfg, Role: "wire"})
	for _, test := range []struct {
		name    string
		version uint32
		params  string // name, value, name, value …, separated by |
		show    string
	}{
		{"protocol 3.0", v30, "user|wire|database|postgres", "server_encoding"},
		{"protocol 3.2, a long key", v32, "user|wire|database|postgres", "server_encoding"},
		{"protocol 3.9 is negotiated", 3<<16 | 9, "user|wire|database|postgres", "server_encoding"},
		{"protocol 3.9999 is negotiated", 3<<16 | 9999, "user|wire|database|postgres", "server_encoding"},
		{"protocol 4.0", 4 << 16, "user|wire|database|postgres", ""},
		{"option of the protocol that nobody knows", v30, "user|wire|database|postgres|_pq_.nothing|1", "server_encoding"},
		{"two of them, and a version", 3<<16 | 7, "user|wire|database|postgres|_pq_.one|1|_pq_.two|2", "server_encoding"},
		{"parameter", v30, "user|wire|database|postgres|work_mem|7MB", "work_mem"},
		{"parameter in other letters", v30, "user|wire|database|postgres|WORK_MEM|7MB", "work_mem"},
		{"parameter of an extension that is not there", v30, "user|wire|database|postgres|some.thing|x", "some.thing"},
		{"parameter that does not exist", v30, "user|wire|database|postgres|nothing|1", ""},
		{"parameter with a bad value", v30, "user|wire|database|postgres|work_mem|much", ""},
		{"parameter that cannot be set", v30, "user|wire|database|postgres|server_version|1", ""},
		{"parameter for a superuser", v30, "user|wire|database|postgres|log_statement|all", ""},
		{"parameter for the start of the cluster", v30, "user|wire|database|postgres|max_connections|1", ""},
		{"parameter that is reported", v30, "user|wire|database|postgres|application_name|mine", "application_name"},
		{"options with -c", v30, "user|wire|database|postgres|options|-c work_mem=7MB", "work_mem"},
		{"options with -c and no blank", v30, "user|wire|database|postgres|options|-cwork_mem=7MB", "work_mem"},
		{"options with --", v30, "user|wire|database|postgres|options|--work-mem=7MB", "work_mem"},
		{"options with an escaped blank", v30, `user|wire|database|postgres|options|-c search_path=a\ b`, "search_path"},
		{"several options", v30, "user|wire|database|postgres|options|-c work_mem=7MB -c geqo=off  --enable-seqscan=off", "enable_seqscan"},
		{"options with a bad value", v30, "user|wire|database|postgres|options|-c work_mem=much", ""},
		{"options with a name that does not exist", v30, "user|wire|database|postgres|options|-c nothing=1", ""},
		{"options with a word", v30, "user|wire|database|postgres|options|nonsense", ""},
		{"options with an unknown switch", v30, "user|wire|database|postgres|options|-Q", ""},
		{"options with -c alone", v30, "user|wire|database|postgres|options|-c", ""},
		{"options with -c and no value", v30, "user|wire|database|postgres|options|-c work_mem", ""},
		{"options with -- and no value", v30, "user|wire|database|postgres|options|--work-mem", ""},
		{"options with -- alone", v30, "user|wire|database|postgres|options|--", "work_mem"},
		{"options with a method that does not exist", v30, "user|wire|database|postgres|options|-f x", ""},
		{"options with -- and a word", v30, "user|wire|database|postgres|options|-- work_mem=7MB", ""},
		{"options with a switch for memory", v30, "user|wire|database|postgres|options|-S 7168", "work_mem"},
		{"options with a switch against a plan", v30, "user|wire|database|postgres|options|-fs", "enable_seqscan"},
		{"options with a switch for dates", v30, "user|wire|database|postgres|options|-e", "datestyle"},
		{"options with a value in quotes", v30, "user|wire|database|postgres|options|-c search_path='a b'", ""},
		{"options with an empty value", v30, "user|wire|database|postgres|options|-c search_path=", "search_path"},
		{"options with an escaped backslash", v30, `user|wire|database|postgres|options|-c some.thing=a\\b`, "some.thing"},
		{"options with a backslash at the end", v30, `user|wire|database|postgres|options|-c some.thing=a\`, "some.thing"},
		{"options with tabs", v30, "user|wire|database|postgres|options|\t-c\twork_mem=7MB\n", "work_mem"},
		{"empty options", v30, "user|wire|database|postgres|options|", "work_mem"},
		{"client encoding", v30, "user|wire|database|postgres|client_encoding|latin1", "client_encoding"},
		{"time zone", v30, "user|wire|database|postgres|TimeZone|Europe/Berlin", "timezone"},
		{"no user", v30, "database|postgres", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			want, got := startUp(t, c.Address(), test.version, test.params, test.show), startUp(t, p.Address(), test.version, test.params, test.show)
			if test.show == "" { // PostgreSQL looks at options behind its first word, "you may come in"
				want = want[max(0, strings.Index(want, "E(")):]
				got = got[max(0, strings.Index(got, "E(")):]
			}
			if got != want {
				t.Errorf("PostgreSQL says %s\nthe proxy      %s", want, got)
			}
		})
	}
}

// startUp plays one start-up and gives a summary of what came back.
func startUp(t *testing.T, address string, version uint32, params, show string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(maxSilence))
	body := binary.BigEndian.AppendUint32(nil, version)
	for field := range strings.SplitSeq(params, "|") {
		body = append(append(body, field...), 0)
	}
	body = append(body, 0)
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)); err != nil {
		t.Fatal(err)
	}
	var got []string
	reported := 0
	for asked := false; ; {
		typ, message, err := readRaw(conn)
		switch {
		case err != nil:
			return strings.Join(append(got, "end"), " ")
		case typ == 'E':
			fields := strings.Split(string(message), "\x00")
			got = append(got, "E("+fields[1]+" "+fields[2]+")") // severity and code
		case typ == 'S':
			reported++
		case typ == 'K':
			got = append(got, fmt.Sprintf("%d settings K(%d bytes)", min(reported, 10), len(message)))
		case typ == 'Z' && (asked || show == ""):
			return strings.Join(append(got, "Z"), " ")
		case typ == 'Z':
			asked = true
			got = append(got, "Z")
			out, err := (&pgproto3.Query{String: "show " + show}).Encode(nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(out); err != nil {
				t.Fatal(err)
			}
		default:
			got = append(got, fmt.Sprintf("%q", message))
		}
	}
}
