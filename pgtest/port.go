package pgtest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreePort finds a port for a program that is to listen on it in a moment. It is none of those that the system gives to whoever asks for any
// (ip_local_port_range in ip(7)): the thousands of connections of other tests do not take it meanwhile.
func FreePort(t testing.TB) int {
	t.Helper()
	const first, last = 20_000, 31_999
	for range 1000 {
		port := first + rand.IntN(last-first+1)
		if l, err := net.Listen("tcp", ":"+strconv.Itoa(port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}
