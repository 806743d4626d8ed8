package proxy

import (
	"sync/atomic"
	"testing"
)

// TestTasksBeginWhileSomebodyWaits: whoever waits sees the end of all that had begun, also of what others have begun meanwhile.
func TestTasksBeginWhileSomebodyWaits(t *testing.T) {
	var tasks tasks
	tasks.Wait()
	var ended atomic.Int64
	for range 100 {
		tasks.Go(func() {
			tasks.Go(func() { ended.Add(1) })
			ended.Add(1)
		})
	}
	for range 2 {
		tasks.Wait()
	}
	if n := ended.Load(); n != 200 {
		t.Errorf("%d of 200 had ended", n)
	}
}
