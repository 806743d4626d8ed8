package proxy

import "github.com/claimpool/claimpool"

// parts are how many of something that is bounded each identity has, or those who share a part of the pool.
type parts struct {
	all int
	of  map[claimpool.Key]int // never 0
}

// take gives one more, unless the part is a quarter of what is left already: whoever takes all that he can leaves most of it to others, and
// so do they. Who has none gets one, while there is any.
func (p *parts) take(key claimpool.Key, most int) bool {
	if left := most - p.all; 4*p.of[key] >= left {
		return false
	}
	p.of[key]++
	p.all++
	return true
}

func (p *parts) free(key claimpool.Key) {
	p.all--
	if p.of[key]--; p.of[key] == 0 {
		delete(p.of, key)
	}
}
