package audit

import "github.com/claimpool/claimpool"

// Rows gives the bytes of a batch.
func (t *Table) Rows(events ...claimpool.Event) []byte {
	if t.proxy == "" {
		t.proxy = "00000000000000000000000000000001"
	}
	var b buffer
	for i := range events {
		t.format(&b, &line{e: events[i]})
	}
	return b.Bytes()
}

// Close ends the connection.
func (t *Table) Close() { t.close() }
