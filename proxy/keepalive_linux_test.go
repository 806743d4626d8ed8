package proxy_test

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestKeepAlive: TCP notices a peer that has vanished without a word, on both sides of the proxy.
func TestKeepAlive(t *testing.T) {
	f := startPlain(t, nil)
	p := f.login(t)
	_, here, _ := net.SplitHostPort(p.LocalAddr().String())
	ports := map[string]string{"the client's": here, "the server's": p.one("SELECT inet_client_port()")}
	for whose, port := range ports {
		soon(t, whose+" connection is kept alive", func() bool {
			sockets, err := os.ReadFile("/proc/net/tcp")
			if err != nil {
				t.Fatal(err)
			}
			n, _ := strconv.Atoi(port)
			at := fmt.Sprintf(":%04X", n)
			for _, line := range strings.Split(string(sockets), "\n") {
				field := strings.Fields(line) // sl, local address, remote address, state, queues, timer and when it fires, …
				if len(field) < 6 || field[3] != "01" {
					continue
				}
				end := field[1] // the proxy's end of the connection to the server
				if whose == "the client's" {
					end = field[2]
				}
				if strings.HasSuffix(end, at) && strings.HasPrefix(field[5], "02:") {
					return true
				}
			}
			return false
		})
	}
}
