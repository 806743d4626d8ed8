package claimpool

import "time"

// DurationBounds are the upper bounds of what Durations counts together, the shortest first.
var DurationBounds = [...]time.Duration{
	100 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 500 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second,
}

// Durations counts durations by how long they were. It has no lock: it belongs to one goroutine, and others get copies of it.
type Durations struct {
	Counts [len(DurationBounds) + 1]uint64 // up to each bound and above the one before it; the last is above all
	Sum    time.Duration
}

// Add counts one.
func (d *Durations) Add(x time.Duration) {
	i := 0
	for i < len(DurationBounds) && x > DurationBounds[i] {
		i++
	}
	d.Counts[i]++
	d.Sum += x
}

// Plus adds what another one has counted.
func (d *Durations) Plus(other *Durations) {
	for i, n := range other.Counts {
		d.Counts[i] += n
	}
	d.Sum += other.Sum
}
