package fetch

import (
	"net/http"
	"strings"
	"testing"
)

// Over http a name such as localhost does not lead to another machine, however the address is written.
func TestLoopbackStaysLoopback(t *testing.T) {
	for _, address := range []string{"http://localhost:8080/", "HTTP://localhost:8080/"} {
		c, err := NewClient(address, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.http.Transport.(*http.Transport).DialContext(t.Context(), "tcp", "192.0.2.1:8080")
		if err == nil || !strings.Contains(err.Error(), "192.0.2.1:8080 is not a loopback address") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
