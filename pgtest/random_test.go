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
// PostgreSQL and through the proxy, byte for byte. In a transaction that has failed, outside of session mode, the proxy may say so where
// PostgreSQL says something else: it cannot prepare a statement there that it is not sure of (docs/howto/drivers.md). What fails is played again with PROTOCOL_SEED=….
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
			n, others := 0, 0
			for seed := range seeds(t, 10, 4*time.Second) {
				var streams [2]replies
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
				switch a, b := streams[0], streams[1]; {
				case mode == pool.Session && !bytes.Equal(a.all, b.all):
					t.Fatalf("seed %d: %s\n%s", seed, firstDifference(a.all, b.all), strings.Join(lines, "\n"))
				case !bytes.Equal(a.rest, b.rest):
					t.Fatalf("seed %d: %s\n%s", seed, firstDifference(a.rest, b.rest), strings.Join(lines, "\n"))
				case !bytes.Equal(a.all, b.all):
					others++
				}
				n++
			}
			t.Logf("%d conversations of 12 exchanges, %d with other words in a failed transaction", n, others)
			if others > n/50+1 {
				t.Error("too many")
			}
		})
	}
}

// replies are what came back: all of it, and without what was said in transactions that had failed and went on to be.
type replies struct {
	all, rest, batch []byte
	failed           bool
}

func (r *replies) take(typ byte, message []byte) {
	r.all = append(r.all, message...)
	r.batch = append(r.batch, message...)
	if typ != 'Z' {
		return
	}
	if failed := message[5] == 'E'; failed && r.failed {
		r.rest = append(r.rest, message...)
	} else {
		r.rest, r.failed = append(r.rest, r.batch...), failed
	}
	r.batch = r.batch[:0]
}

// playRandom plays exchanges, in pieces that the seed decides, and gives all that comes back.
func playRandom(conn net.Conn, lines []string, seed uint64) (r replies, err error) {
	defer conn.Close()
	cut := rand.New(rand.NewPCG(seed, 1))
	longest := []int{1, 3, 10, 100, 1 << 20}[cut.IntN(5)]
	if err := conn.SetDeadline(time.Now().Add(2 * maxSilence)); err != nil {
		return r, err
	}
	for _, line := range lines {
		x, err := parseExchange(line)
		if err != nil {
			return r, err
		}
		out, err := x.Bytes()
		if err != nil {
			return r, err
		}
		for len(out) > 0 {
			k := min(len(out), 1+cut.IntN(longest))
			if _, err := conn.Write(out[:k]); err != nil {
				return r, fmt.Errorf("%s: %w", line, err)
			}
			out = out[k:]
		}
		for until := x.until; len(until) > 0; {
			typ, message, err := readRaw(conn)
			if err != nil {
				return r, fmt.Errorf("%s: waiting for %s: %w", line, until, err)
			}
			r.take(typ, message)
			if typ == until[0][0] {
				until = until[1:]
			}
			if typ == 'E' && until != nil && len(until) > 0 && until[0] == "G" { // no COPY begins
				return r, nil
			}
		}
	}
	return r, nil
}

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
