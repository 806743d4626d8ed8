package startup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/claimpool/claimpool"
)

const (
	// shortestPacket is as much of a packet as can be read before its length is known.
	shortestPacket = 8

	// maxPacket is the longest start-up packet without its length word: PostgreSQL's MAX_STARTUP_PACKET_LENGTH.
	maxPacket = 10_000

	// firstRead is how much of a packet's length we believe before we have seen that much: thousands of strangers who
	// announce the longest packet and then stall cost little (slowloris).
	firstRead = 512
)

// errDirectTLS says that the first bytes were the beginning of a TLS handshake.
var errDirectTLS = errors.New("direct TLS")

// readPacket reads the body of one packet:
//
//	Int32 length (with itself), Int32 version or request code, rest
func (g *greeter) readPacket() ([]byte, error) {
	first := make([]byte, shortestPacket)
	got, err := io.ReadAtLeast(g.Conn, first, 4)
	g.head = first[:got]
	if err != nil {
		if err == io.EOF {
			return nil, io.EOF // between two packets
		}
		return nil, fmt.Errorf("read start-up packet: %w", err)
	}
	g.packets++
	if g.head[0] == recordTypeHandshake && g.packets == 1 {
		return nil, errDirectTLS
	}
	if g.head[0] != 0 { // a length of 16 MB or more is not PostgreSQL's protocol, but HTTP, SSH or noise
		return nil, errors.New("not the PostgreSQL protocol")
	}
	n := int(binary.BigEndian.Uint32(g.head)) - 4
	if n < 4 || n > maxPacket {
		return nil, invalidLength()
	}
	body := append(make([]byte, 0, min(n, firstRead)), g.head[4:]...)
	for len(body) < n {
		body = slices.Grow(body, min(n-len(body), firstRead))
		got, err := io.ReadFull(g.Conn, body[len(body):min(n, cap(body))])
		body = body[:len(body)+got]
		if err != nil {
			return nil, fmt.Errorf("read start-up packet: %w", noEOF(err))
		}
	}
	return body, nil
}

func versionOf(body []byte) uint32 { return binary.BigEndian.Uint32(body) }

// noEOF turns the end of a stream inside of a packet into what it is.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func invalidLength() error {
	return &claimpool.Error{Code: claimpool.CodeProtocolViolation, Message: "invalid length of startup packet"}
}
