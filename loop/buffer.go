package loop

import "math/bits"

// Buffers come in powers of two. The smallest class serves the ordinary case, a query that waits for a server; the
// largest takes a full read buffer with what TLS adds to it.
const (
	minClass = 8  // 256 bytes
	maxClass = 17 // 128 KiB
	// maxFreeBytes is how much of each class a loop keeps free: after a burst the rest goes back to the collector.
	maxFreeBytes = 1 << 20
)

// freeList keeps buffers for reuse, so that the steady state makes no garbage. It belongs to one loop.
type freeList struct {
	classes [maxClass - minClass + 1][][]byte
}

func class(n int) int {
	if n <= 1<<minClass {
		return 0
	}
	return bits.Len(uint(n-1)) - minClass
}

// get gives an empty buffer with room for n bytes.
func (f *freeList) get(n int) []byte {
	k := class(n)
	if k >= len(f.classes) {
		return make([]byte, 0, n)
	}
	if free := f.classes[k]; len(free) > 0 {
		b := free[len(free)-1]
		free[len(free)-1] = nil
		f.classes[k] = free[:len(free)-1]
		return b
	}
	return make([]byte, 0, 1<<(k+minClass))
}

// put takes a buffer back. Its bytes are somebody's data: it is handed out again only as an empty slice.
func (f *freeList) put(b []byte) {
	if cap(b) < 1<<minClass {
		return
	}
	k := bits.Len(uint(cap(b))) - 1 - minClass // the class that it can surely serve
	if k >= len(f.classes) || len(f.classes[k])<<(k+minClass) >= maxFreeBytes {
		return
	}
	f.classes[k] = append(f.classes[k], b[:0])
}

// grow gives b with room for n more bytes, from the free list when it must move.
func (f *freeList) grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	moved := append(f.get(len(b)+n), b...)
	f.put(b)
	return moved
}
