package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimpool/claimpool/pool"
	"github.com/claimpool/claimpool/server"
)

// TestBadWeather: clients and servers whose network cuts everything into pieces, delays it and resets connections. Nobody hangs, nobody gets
// a byte of an answer that is somebody else's or comes under somebody else's settings, and when the weather is fine again all is well.
func TestBadWeather(t *testing.T) {
	const clients = 6
	c := Start(t, Newest(t), WithHBA("host all postgres 127.0.0.1/32 scram-sha-256\nhost all wire 127.0.0.1/32 trust\n"))
	c.Exec(t, "postgres", caseTables)
	for _, mode := range []pool.Mode{pool.Session, pool.Transaction} {
		t.Run(string(mode), func(t *testing.T) {
			for seed := range seeds(t, 1, time.Second) {
				behind := StartRelay(t, c.Address(), seed)
				cfg := DefaultPool()
				cfg.Mode, cfg.Size = mode, 4
				p := StartProxy(t, ProxyOptions{Cluster: c, Pool: cfg, Role: "wire", Server: &server.Config{
					Hosts: []string{behind.Addr().String()}, Database: "postgres", ConnectTimeout: 10 * time.Second,
				}})
				front := StartRelay(t, p.Address(), seed+1000)
				bad := Weather{Piece: 1 + int(seed%40), Late: 200, Delay: 3 * time.Millisecond}
				bad.Reset = 200_000 / bad.Piece // every third conversation or so
				front.Turn(bad)
				behind.Turn(bad)
				var wg sync.WaitGroup
				var answered atomic.Int64
				for i := range clients {
					wg.Go(func() { sail(t, front.Addr().String(), i, &answered) })
				}
				wg.Wait()
				if answered.Load() == 0 {
					t.Errorf("seed %d: in this weather nobody was answered", seed)
				}
				front.Turn(Weather{Piece: 64 << 10})
				behind.Turn(Weather{Piece: 64 << 10})
				if err := ask(front.Addr().String(), "afterwards", 3); err != nil {
					t.Errorf("seed %d: afterwards: %v", seed, err)
				}
				p.Close()
				behind.Close()
				front.Close()
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// sail asks and asks again on new connections, whatever happens to them.
func sail(t *testing.T, address string, i int, answered *atomic.Int64) {
	for range 8 {
		err := ask(address, fmt.Sprintf("client%d", i), 10)
		var wrong *crossed
		switch {
		case err == nil:
			answered.Add(1)
		case errors.As(err, &wrong), errors.Is(err, context.DeadlineExceeded), strings.Contains(err.Error(), "timeout"):
			t.Errorf("client %d: %v", i, err)
		} // else it was the weather
	}
}

// crossed is an answer that belongs to somebody else, or to another question.
type crossed struct{ got, want string }

func (e *crossed) Error() string { return fmt.Sprintf("got %q, want %q", e.got, e.want) }

// ask logs in under a name and asks questions that say whose they are: in simple queries, statements and pipelines.
func ask(address, name string, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*maxSilence)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s dbname=postgres user=wire sslmode=disable application_name=%s", host, port, name))
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for i := range n {
		want := fmt.Sprintf("%s %d", name, i)
		var got string
		if err := conn.QueryRow(ctx, "select current_setting('application_name') || ' ' || $1::int", i).Scan(&got); err != nil {
			return err
		}
		if got != want {
			return &crossed{got, want}
		}
		batch := &pgx.Batch{}
		for range 3 {
			batch.Queue("select current_setting('application_name') || ' ' || $1::int, repeat('x', $2)", i, 100*i)
		}
		results := conn.SendBatch(ctx, batch)
		for range 3 {
			var long string
			if err := results.QueryRow().Scan(&got, &long); err != nil {
				results.Close()
				return err
			}
			if got != want || len(long) != 100*i {
				return &crossed{got, want}
			}
		}
		if err := results.Close(); err != nil {
			return err
		}
	}
	_, err = conn.Exec(ctx, "select 1/0")
	var e *pgconn.PgError
	if err == nil || errors.As(err, &e) && e.Code == "22012" {
		return nil
	}
	return err
}
