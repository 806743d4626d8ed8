package wire

import (
	"encoding/binary"
	"errors"
)

// ParseDataRow reads a row of text values; NULL becomes the empty string. It is for the proxy's own questions, not for the
// rows of clients, which pass by their header.
func ParseDataRow(body []byte) ([]string, error) {
	if len(body) < 2 {
		return nil, errors.New("malformed DataRow: no count")
	}
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	var row []string
	for range n {
		if len(body) < 4 {
			return nil, errors.New("malformed DataRow: too few values")
		}
		size := int(int32(binary.BigEndian.Uint32(body)))
		body = body[4:]
		switch {
		case size == -1:
			row = append(row, "")
		case size < 0 || size > len(body):
			return nil, errors.New("malformed DataRow: wrong length of a value") // CVE-2026-32286: a negative one ended the driver
		default:
			row = append(row, string(body[:size]))
			body = body[size:]
		}
	}
	if len(body) > 0 {
		return nil, errors.New("malformed DataRow: bytes behind the values")
	}
	return row, nil
}
