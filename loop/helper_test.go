package loop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// engine is the kind of loop that the tests run on.
var engine = Auto

// kindsHere are the kinds that work here.
func kindsHere() (kinds []Kind) {
	for _, kind := range []Kind{IOUring, Epoll} {
		if l, err := New(kind); err == nil {
			l.Post(l.Stop)
			l.Run()
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		return []Kind{Auto}
	}
	return kinds
}

// TestMain runs the tests once for each kind of loop.
func TestMain(m *testing.M) {
	code := 0
	for _, engine = range kindsHere() {
		fmt.Println("kind of loop:", engine)
		code = max(code, m.Run())
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// tellsPaused says that a paused connection hears at once when its peer closes: poll(2) cannot tell in all cases.
var tellsPaused = true

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// hooks is a Handler made of functions; nil ones do nothing, and Data without one uses all.
type hooks struct {
	data    func(b []byte) int
	drained func()
	hangup  func()
	closed  func(err error)
}

func (h *hooks) Data(b []byte) int {
	if h.data == nil {
		return len(b)
	}
	return h.data(b)
}

func (h *hooks) Drained() {
	if h.drained != nil {
		h.drained()
	}
}

func (h *hooks) Hangup() {
	if h.hangup != nil {
		h.hangup()
	}
}

func (h *hooks) Closed(err error) {
	if h.closed != nil {
		h.closed(err)
	}
}

// start runs a loop until the test is over.
func start(t testing.TB) *Loop {
	t.Helper()
	l, _ := startAndStop(t)
	return l
}

// startAndStop is start with a way to end the loop before.
func startAndStop(t testing.TB) (l *Loop, stop func()) {
	t.Helper()
	l, err := New(engine)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run()
	}()
	stop = func() {
		l.Post(l.Stop)
		<-done
	}
	t.Cleanup(stop)
	return l, stop
}

// do runs f in the loop's goroutine and waits for it.
func do(t testing.TB, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(func() { defer close(done); f() }) {
		t.Fatal("the loop has ended")
	}
	wait(t, done)
}

// wait waits for what must come.
func wait[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// kind is a way to connect.
type kind struct {
	name, network string
	tls           uint16 // the version; 0: plain
}

var kinds = []kind{
	{"tcp", "tcp", 0},
	{"unix", "unix", 0},
	{"tcp with TLS 1.3", "tcp", tls.VersionTLS13},
	{"unix with TLS 1.3", "unix", tls.VersionTLS13},
	{"tcp with TLS 1.2", "tcp", tls.VersionTLS12},
}

func eachKind(t *testing.T, f func(t *testing.T, k kind)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { f(t, k) })
	}
}

// sockets gives the two ends of a connection.
func sockets(t testing.TB, network string) (near, far net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err = net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	near.SetDeadline(time.Now().Add(patience))
	return near, far
}

// peer is the test's end of a connection whose other end is in a loop.
type peer struct {
	net.Conn          // TLS or plain
	raw      net.Conn // the socket
	conn     *Conn    // the loop's end
}

// connect makes a connection, gives its far end to the loop and the near end to the test.
func connect(t testing.TB, l *Loop, k kind, handler func(c *Conn) Handler) *peer {
	t.Helper()
	near, far := sockets(t, k.network)
	p := &peer{Conn: near, raw: near}
	var secured *tls.Conn
	var carrier *Carrier
	if k.tls != 0 {
		carrier = NewCarrier(far)
		server, client := configs()()
		server.MaxVersion, client.MinVersion = k.tls, tls.VersionTLS12
		secured = tls.Server(carrier, server)
		done := make(chan error, 1)
		go func() { done <- secured.Handshake() }()
		c := tls.Client(near, client)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := wait(t, done); err != nil {
			t.Fatal(err)
		}
		p.Conn = c
	}
	fd, err := Detach(far)
	if err != nil {
		t.Fatal(err)
	}
	do(t, l, func() {
		h := &late{}
		p.conn, err = l.Add(fd, secured, carrier, h, nil)
		if err == nil {
			h.Handler = handler(p.conn)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// late is a handler that is made after its connection.
type late struct{ Handler }

var configs = sync.OnceValue(func() func() (server, client *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return func() (server, client *tls.Config) {
		return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
			&tls.Config{RootCAs: roots, ServerName: "test"}
	}
})

// echo sends back what comes, and stops reading while the peer does not take it.
func echo(c *Conn) Handler {
	return &hooks{
		data: func(b []byte) int {
			c.Write(b)
			if c.Blocked() {
				c.Pause()
			}
			return len(b)
		},
		drained: c.Resume,
	}
}

// readFull reads n bytes or fails the test.
func readFull(t testing.TB, r io.Reader, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if k, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("after %d of %d bytes: %v", k, n, err)
	}
	return b
}
