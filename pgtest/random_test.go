package pgtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pool"
)

// fuzzTime is for how long the random tests of the protocol run: PROTOCOL_TIME, which make fuzz-protocol sets; short in make test.
func fuzzTime(t *testing.T, short time.Duration) time.Duration {
	text := os.Getenv("PROTOCOL_TIME")
	if text == "" {
		return short
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("PROTOCOL_TIME: %v", err)
	}
	return d
}

// seeds gives the seeds of a run: the one in PROTOCOL_SEED, or one after the other until the time is over, a few at least.
func seeds(t *testing.T, least uint64, short time.Duration) func(yield func(uint64) bool) {
	end := time.Now().Add(fuzzTime(t, short))
	if text := os.Getenv("PROTOCOL_SEED"); text != "" {
		one, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("PROTOCOL_SEED: %v", err)
		}
		return func(yield func(uint64) bool) { yield(one) }
	}
	first := uint64(1)
	if os.Getenv("PROTOCOL_TIME") != "" {
		first = uint64(time.Now().UnixNano()) // other ones each time
	}
	return func(yield func(uint64) bool) {
		for seed := first; (seed < first+least || time.Now().Before(end)) && yield(seed); seed++ {
		}
	}
}

// TestSameReplies is the differential run: the same bytes of a client, random but valid, cut anywhere, have the same replies straight at
// PostgreSQL and through the proxy, byte for byte. What fails is played again with PROTOCOL_SEED=….
func TestSameReplies(t *testing.T) {
	inst := Newest(t)
	c := Start(t, inst, WithHBA("host all postgres 127.0.0.1/32 scram-sha-256\nhost all wire 127.0.0.1/32 trust\n"))
	c.Exec(t, "postgres", caseTables)
	for _, mode := range []pool.Mode{pool.Session, pool.Transaction} {
		t.Run(string(mode), func(t *testing.T) {
			cfg := DefaultPool()
			cfg.Mode, cfg.Size = mode, 1
			p := StartProxy(t, ProxyOptions{Cluster: c, Pool: cfg, Role: "wire"})
			admin := c.Connect(t, "postgres", cluster.Superuser, "")
			n := 0
			for seed := range seeds(t, 10, 4*time.Second) {
				var streams [2][]byte
				lines := RandomExchanges(seed, 12)
				for i, address := range []string{c.Address(), p.Address()} {
					if _, err := admin.Exec(t.Context(), "truncate items, parents, children"); err != nil {
						t.Fatal(err)
					}
					var err error
					if streams[i], err = playRandom(Login(t, address, "postgres", "wire"), lines, seed); err != nil {
						t.Fatalf("seed %d at %s: %v\n%s", seed, []string{"PostgreSQL", "the proxy"}[i], err, strings.Join(lines, "\n"))
					}
				}
				if !bytes.Equal(streams[0], streams[1]) {
					t.Fatalf("seed %d: %s\n%s", seed, firstDifference(streams[0], streams[1]), strings.Join(lines, "\n"))
				}
				n++
			}
			t.Logf("%d conversations of 12 exchanges", n)
		})
	}
}

// playRandom plays exchanges, in pieces that the seed decides, and gives all that comes back.
func playRandom(conn net.Conn, lines []string, seed uint64) (all []byte, err error) {
	defer conn.Close()
	cut := rand.New(rand.NewPCG(seed, 1))
	longest := []int{1, 3, 10, 100, 1 << 20}[cut.IntN(5)]
	if err := conn.SetDeadline(time.Now().Add(2 * maxSilence)); err != nil {
		return nil, err
	}
	failed := false // the transaction
	for _, line := range lines {
		x, err := parseExchange(line)
		if err != nil {
			return nil, err
		}
		out, err := x.Bytes()
		if err != nil {
			return nil, err
		}
		for len(out) > 0 {
			k := min(len(out), 1+cut.IntN(longest))
			if _, err := conn.Write(out[:k]); err != nil {
				return all, fmt.Errorf("%s: %w", line, err)
			}
			out = out[k:]
		}
		for until := x.until; len(until) > 0; {
			typ, message, err := readRaw(conn)
			if err != nil {
				return all, fmt.Errorf("%s: waiting for %s: %w", line, until, err)
			}
			switch {
			case typ == 'Z':
				failed = message[5] == 'E'
			case failed && wrongCount.Match(message):
				message = aborted
			}
			all = append(all, message...)
			if typ == until[0][0] {
				until = until[1:]
			}
			if typ == 'E' && until != nil && len(until) > 0 && until[0] == "G" { // no COPY begins
				return all, nil
			}
		}
	}
	return all, nil
}

// wrongCount is what PostgreSQL says to a Bind with too many or too few parameters, also in a failed transaction. The proxy may say there
// that it has failed: where it does not know whether the statement is on the server, it cannot prepare it again to have it counted.
var wrongCount = regexp.MustCompile(`^ESERROR\x00VERROR\x00C08P01\x00Mbind message supplies `)

var aborted = []byte("ESERROR\x00VERROR\x00C25P02\x00Mcurrent transaction is aborted, commands ignored until end of transaction block\x00")

// readRaw reads one message as it is.
func readRaw(r io.Reader) (typ byte, message []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	size := int(binary.BigEndian.Uint32(head[1:]))
	if size < 4 || size > 1<<24 {
		return 0, nil, errors.New("malformed length")
	}
	message = append(head, make([]byte, size-4)...)
	_, err = io.ReadFull(r, message[5:])
	return head[0], normal(message), err
}

// namedInError is a name that stands for a text which the client has given two names.
var namedInError = regexp.MustCompile(`prepared statement "s[123]" requires`)

// normal leaves out of an error where in PostgreSQL's source it was made: those of the proxy's own have no such place.
func normal(message []byte) []byte {
	if message[0] != 'E' && message[0] != 'N' {
		return message
	}
	out := []byte{message[0]}
	for field := range bytes.SplitSeq(message[5:], []byte{0}) {
		if len(field) > 0 && bytes.IndexByte([]byte("SVCM"), field[0]) >= 0 {
			out = append(append(out, namedInError.ReplaceAll(field, []byte("…"))...), 0)
		}
	}
	return out
}

// firstDifference shows where two streams part.
func firstDifference(a, b []byte) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	from := max(0, i-120)
	return fmt.Sprintf("byte %d differs: PostgreSQL says\n%q\nthe proxy\n%q", i, a[from:min(len(a), i+200)], b[from:min(len(b), i+200)])
}
