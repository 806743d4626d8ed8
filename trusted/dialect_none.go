package trusted

import (
	"time"

	"github.com/claimpool/claimpool"
)

// None is the dialect of databases without a trusted context: who somebody is decides only who shares a connection.
type None struct{}

// Pins is empty.
func (None) Pins() [][2]string { return nil }

// Greet asks nothing.
func (None) Greet(*Session, []string, time.Time) ([]byte, error) { return nil, nil }

// Install adds nothing: claims are not carried.
func (None) Install(dst []byte, steps Steps, _ *Session, _ *claimpool.Identity, _ bool, _ time.Time) ([]byte, Steps, time.Time) {
	return dst, steps, time.Time{}
}

// Gated is false.
func (None) Gated() bool { return false }
