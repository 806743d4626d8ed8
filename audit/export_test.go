package audit

import (
	"time"

	"github.com/claimpool/claimpool"
)

// Rows gives the bytes of a batch.
func (t *Table) Rows(events ...claimpool.Event) []byte {
	if t.proxy == "" {
		t.proxy = "00000000000000000000000000000001"
	}
	var b buffer
	for i := range events {
		l := newLine(&events[i], time.Time{})
		t.format(&b, &l)
	}
	return b.Bytes()
}

// Close ends the connection.
func (t *Table) Close() { t.close() }
