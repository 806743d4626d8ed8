//go:build linux

package load

import (
	"math/bits"
	"time"
)

// subBits gives each power of two 64 buckets: a value is known to 1.6 %.
const subBits = 6

// histogram counts durations in buckets that grow with the value. It never allocates.
type histogram struct {
	buckets [64 << subBits]uint32
	n       int
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucket(uint64(max(d, 0)))]++
	h.n++
}

// bucket is the value itself below 64, then its highest bits.
func bucket(v uint64) int {
	shift := max(0, bits.Len64(v)-subBits-1)
	return shift<<subBits + int(v>>shift)
}

// floor is the smallest value of a bucket.
func floor(i int) uint64 {
	shift := max(0, i>>subBits-1)
	return uint64(i-shift<<subBits) << shift
}

// quantile returns, in microseconds, the value that a share q of all values does not exceed.
func (h *histogram) quantile(q float64) float64 {
	left := min(int(q*float64(h.n)), h.n-1)
	for i, n := range h.buckets {
		if left -= int(n); left < 0 {
			return float64(floor(i)+floor(i+1)) / 2e3
		}
	}
	return 0
}
