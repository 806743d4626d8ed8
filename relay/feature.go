package relay

import (
	"bytes"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/prepared"
	"github.com/claimpool/claimpool/wire"
)

// Features makes FromClient stop in front of a Query or Parse whose text does any of that; see Asked. Zero: no text is looked at.
func (r *Relay) Features(watch feature.Uses) { r.watch = watch }

// Hears says whether notifications on a channel may reach the client.
type Hears func(channel string) bool

// Hear lets all notifications through from now on, or those that are allowed; nil: none.
func (r *Relay) Hear(all bool, allowed *Hears) { r.notify, r.hears = all, allowed }

// Asked says what the message does in front of which FromClient has stopped; 0 when it has not.
func (r *Relay) Asked() feature.Uses { return r.asking }

// Pass lets that message go on.
func (r *Relay) Pass() {
	r.passed = true
	r.seen |= r.scanned
}

// Seen is what the texts of the lease have done so far, those of statements included that were prepared earlier.
func (r *Relay) Seen() feature.Uses { return r.seen }

// Released reports whether something may have been taken away that was left on the server: DISCARD, RESET, DEALLOCATE, UNLISTEN, DROP,
// CLOSE or pg_advisory_unlock() was answered or sent.
func (r *Relay) Released() bool { return r.released || r.seen&feature.Unlock != 0 }

// Unlistened reports whether UNLISTEN or DISCARD ALL was answered.
func (r *Relay) Unlistened() bool { return r.quiet }

// LoseUnnamed says that the client has no unnamed statement any more: a request of its that the proxy has answered has taken its place.
func (r *Relay) LoseUnnamed() { r.unnamed = false }

// asks looks at the text of a Query or Parse, and reports whether the message must not go on, or not yet.
func (r *Relay) asks(typ byte, body []byte, size int) bool {
	if r.passed {
		r.passed = false
		return false
	}
	whole := len(body) >= size
	if whole {
		body = body[:size]
	} else if len(body) < maxLook {
		return true
	}
	sql := text(typ, body[:min(len(body), maxLook)])
	r.scanned = feature.Scan(sql)
	if r.watch&feature.Notify != 0 && len(feature.Sent(sql)) > 0 {
		r.scanned |= feature.Notify
	}
	if r.asking = r.scanned & r.watch; r.asking != 0 {
		return true
	}
	r.seen |= r.scanned
	return false
}

// text gives the SQL in the body of a Query or Parse, of which not all may be there.
func text(typ byte, body []byte) []byte {
	if typ == wire.MsgParse { // String name, String query, …
		body = body[bytes.IndexByte(body, 0)+1:]
	}
	if i := bytes.IndexByte(body, 0); i >= 0 {
		body = body[:i]
	}
	return body
}

// Text gives the SQL of the message at the front of b, as far as it is there and no more than the first limit bytes; nil when it is
// neither a Query nor a Parse.
func Text(b []byte, limit int) []byte {
	typ, size, ok, err := wire.Header(b)
	if err != nil || !ok || typ != wire.MsgQuery && typ != wire.MsgParse {
		return nil
	}
	body := b[wire.HeaderLen:]
	return text(typ, body[:min(len(body), size, limit)])
}

// Forget begins anew with what Seen and Released tell.
func (r *Relay) Forget() { r.seen, r.released = 0, false }

// Refuse appends what makes the server fail in the place of the Query or Parse at the front of b, which it does not get: sql, which
// fails, or an error of the extended protocol. It gives the length of the message.
func (r *Relay) Refuse(dst, b []byte, sql string, e *claimpool.Error) (out []byte, n int, err error) {
	typ, size, _, err := wire.Header(b)
	if err != nil {
		return dst, 0, err
	}
	if typ == wire.MsgQuery {
		r.unnamed = true
		r.book.NoUnnamed()
		r.request(typ, size)
		return wire.AppendQuery(dst, sql), wire.HeaderLen + size, nil
	}
	if r.unsure || r.book == nil {
		return dst, 0, lostCount
	}
	if len(b) > wire.HeaderLen && b[wire.HeaderLen] == 0 {
		r.book.NoUnnamed()
	}
	r.unsynced = true
	at := prepared.Point{Batch: r.answered + uint32(r.due), Ack: r.acks, Unnamed: r.unnamed, Waiting: r.due > 0}
	dst = r.book.Refuse(dst, &at, e)
	r.acks = at.Ack
	return dst, wire.HeaderLen + size, nil
}

// notified takes a notification that has n bytes in front of it. stop means that the scan ends here with the reply.
func (r *Relay) notified(b []byte, n, size int) (reply Reply, stop bool) {
	if r.notify {
		return Reply{}, false
	}
	if r.hears != nil {
		whole := len(b)-n >= wire.HeaderLen+size
		if !whole && size <= maxWhole {
			return Reply{Forward: n, Done: true}, true
		}
		if whole && r.heard(b[n+wire.HeaderLen:n+wire.HeaderLen+size]) {
			return Reply{}, false
		}
	}
	if n > 0 {
		return Reply{Forward: n}, true // first what stands before it
	}
	r.dropping = size > 0
	r.fromServer = size
	return Reply{Drop: wire.HeaderLen, Done: len(b) == wire.HeaderLen}, true
}

// heard reports whether a notification is for the client.
func (r *Relay) heard(body []byte) bool {
	channel, ok := NotifiedOn(body)
	return ok && (*r.hears)(channel)
}

// NotifiedOn reads the channel of a NotificationResponse: Int32 process, String channel, String payload.
func NotifiedOn(body []byte) (channel string, ok bool) {
	if len(body) < 4 {
		return "", false
	}
	name, _, ok := bytes.Cut(body[4:], []byte{0})
	return string(name), ok
}
