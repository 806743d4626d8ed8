package proxy

import (
	"fmt"
	"testing"

	"github.com/claimpool/claimpool"
)

// Whatever codes servers make up, they are counted in a bounded number of classes, and none is lost.
func TestClasses(t *testing.T) {
	c := Classes{}
	for code, want := range map[claimpool.Code]string{
		"28P01": "28", "53300": "53", "P0001": "P0", "XX000": "XX", "": "XX", "2": "XX", "28": "XX", "\"}000": "XX", "aa000": "XX", "28P012": "XX", "\n1000": "XX",
	} {
		if got := c.class(code); got != want {
			t.Errorf("%q is of class %q", code, got)
		}
	}
	const n = 36 * 36
	for i := range n {
		const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		c.add(claimpool.Code(fmt.Sprintf("%c%c000", digits[i/36], digits[i%36])))
	}
	sum := uint64(0)
	for _, k := range c {
		sum += k
	}
	if len(c) > maxClasses+1 || sum != n {
		t.Errorf("%d classes, %d codes", len(c), sum)
	}
	for h := NoHandover; h < handoverKinds; h++ {
		if h.String() == "" || h.String() == "unknown" {
			t.Errorf("kind %d has no name", h)
		}
	}
}
