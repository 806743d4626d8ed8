package wire

import (
	"encoding/binary"
	"io"
	"slices"
)

// readChunk is how much ReadMessage believes of a length before it has seen bytes: a header that announces 1 GiB and
// sends nothing costs the sender nothing, so it must cost us little.
const readChunk = 64 << 10

// Header reads the header at the start of b: the message's type, and how many bytes of body follow it. ok is false when
// b is shorter than a header. An error (ErrLength) means that the stream is beyond repair.
func Header(b []byte) (typ byte, bodyLen int, ok bool, err error) {
	if len(b) < HeaderLen {
		return 0, 0, false, nil
	}
	n := binary.BigEndian.Uint32(b[1:]) - 4 // the length counts itself; one below 4 wraps around to a high one
	if n > MaxMessage {
		return 0, 0, false, ErrLength
	}
	return b[0], int(n), true, nil
}

// ReadMessage reads one message and not a byte more, for the exchanges of a login. A body longer than limit is refused
// before it is read. io.EOF means that the peer left between two messages; io.ErrUnexpectedEOF, inside of one.
func ReadMessage(r io.Reader, limit int) (typ byte, body []byte, err error) {
	var head [HeaderLen]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	typ, n, _, err := Header(head[:])
	if err != nil {
		return 0, nil, err
	}
	if n > limit {
		return 0, nil, ErrLength
	}
	body, err = readBody(r, n)
	return typ, body, err
}

// readBody reads n bytes, and allocates as they come.
func readBody(r io.Reader, n int) ([]byte, error) {
	body := make([]byte, 0, min(n, readChunk))
	for len(body) < n {
		step := min(n-len(body), readChunk)
		body = slices.Grow(body, step)
		got, err := io.ReadFull(r, body[len(body):len(body)+step])
		body = body[:len(body)+got]
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
	return body, nil
}
