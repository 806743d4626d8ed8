package claimpool

import (
	"math"
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	var d, sum Durations
	for _, x := range []time.Duration{0, DurationBounds[0], DurationBounds[0] + 1, DurationBounds[len(DurationBounds)-1], math.MaxInt32 * time.Second} {
		d.Add(x)
	}
	last := len(d.Counts) - 1
	if d.Counts[0] != 2 || d.Counts[1] != 1 || d.Counts[last-1] != 1 || d.Counts[last] != 1 {
		t.Errorf("%+v", d)
	}
	sum.Plus(&d)
	sum.Plus(&Durations{Sum: -d.Sum})
	if sum.Counts != d.Counts || sum.Sum != 0 {
		t.Errorf("%+v", sum)
	}
	for i, b := range DurationBounds[1:] {
		if b <= DurationBounds[i] {
			t.Errorf("%s stands behind %s", b, DurationBounds[i])
		}
	}
}

func BenchmarkDurations(b *testing.B) {
	var d Durations
	for b.Loop() {
		d.Add(700 * time.Microsecond)
	}
}
