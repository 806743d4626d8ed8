package proxy

import (
	"testing"

	"github.com/claimpool/claimpool"
)

// TestParts: each who takes all that he can leaves most of it, and what is given back counts again.
func TestParts(t *testing.T) {
	const most = 1000
	p := parts{of: map[claimpool.Key]int{}}
	greedy := func(key claimpool.Key) (n int) {
		for p.take(key, most) {
			n++
		}
		return n
	}
	for i, want := range []int{200, 160, 128} {
		if got := greedy(claimpool.Key{byte(i)}); got != want {
			t.Errorf("number %d has %d, want %d", i, got, want)
		}
	}
	for range 200 {
		p.free(claimpool.Key{0})
	}
	if got := greedy(claimpool.Key{3}); got != 143 || p.all != 160+128+143 || len(p.of) != 3 {
		t.Errorf("the next one has %d of %d, %d have some", got, p.all, len(p.of))
	}
	for i := range 100 {
		greedy(claimpool.Key{4, byte(i)})
	}
	if p.all != most || p.take(claimpool.Key{5}, most) {
		t.Errorf("%d are taken", p.all)
	}
}
