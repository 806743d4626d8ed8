package wire

import "encoding/binary"

// ParseDataRow reads a row of text values; NULL becomes the empty string. It is for the proxy's own questions.
func ParseDataRow(body []byte) ([]string, error) {
	if len(body) < 2 {
		return nil, malformed("data row without a count")
	}
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	var row []string
	for range n {
		if len(body) < 4 {
			return nil, malformed("data row with too few values")
		}
		size := int(int32(binary.BigEndian.Uint32(body)))
		body = body[4:]
		switch {
		case size == -1:
			row = append(row, "")
		case size < 0 || size > len(body):
			return nil, malformed("data row with a wrong length") // CVE-2026-32286: a negative one ended the driver
		default:
			row = append(row, string(body[:size]))
			body = body[size:]
		}
	}
	if len(body) > 0 {
		return nil, malformed("data row with bytes behind its values")
	}
	return row, nil
}
