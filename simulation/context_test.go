package simulation

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/trusted"
	"github.com/claimpool/claimpool/wire"
)

// The server's half of both dialects, written from the documents (database/sql/README.md and database/extension/PROTOCOL.md)
// and not from package trusted.

const contextSetting = trusted.SQLSetting

// The OIDs of the functions that the proxy calls, and of one that clients call.
const (
	oidSetConfig      = 2078
	oidSetSeed        = 1599
	oidMyTempSchema   = 2854
	oidToRegprocedure = 3479
	oidChallenge      = 20001
	oidSwitch         = 20002
	oidClients        = 20003
)

var (
	secret    = bytes.Repeat([]byte{5}, 32)
	sqlSecret = "k1:" + hex.EncodeToString(secret) + "\n"
)

// greeting is what claimpool.greeting() answers.
func (s *server) greeting() string {
	return fmt.Sprintf("v1|%s|%d", s.binding(), s.clock().UnixMilli())
}

func (s *server) binding() string { return fmt.Sprintf("backend %d", s.pid) }

func (s *server) clock() time.Time { return s.w.now.Add(theClock * time.Second) }

// sealed verifies the seal in the setting: MAC.KID.IAT.WINDOW.CLAIMS. Nothing sealed gives no claims; expired is for those
// who come too late.
func (s *server) sealed() (claims string, expired bool) {
	seal := s.settings[contextSetting]
	if seal == "" {
		return noContext, false
	}
	parts := strings.SplitN(seal, ".", 5)
	if len(parts) != 5 {
		s.w.fail("the seal %q is malformed", seal)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("claimpool-sql-v1|" + s.binding() + "|" + seal[len(parts[0]):]))
	if hex.EncodeToString(mac.Sum(nil)) != parts[0] {
		s.w.fail("the seal on server %d is not for it", s.pid)
	}
	iat, _ := strconv.ParseInt(parts[2], 10, 64)
	window, _ := strconv.ParseInt(parts[3], 10, 64)
	now := s.clock().UnixMilli()
	return parts[4], now < iat-1000 || now > iat+window
}

// nativeBackend is the extension in one backend.
type nativeBackend struct {
	key     []byte
	counter uint64
	last    [32]byte // the identity that was served last
	claims  string   // empty: there is no context
	expires int64
	session bool // the scope of the context
	broken  bool // a step of the last hand-over was cancelled: what came along with it is refused, and may run elsewhere
}

// failed is the end of a transaction by an error.
func (n *nativeBackend) failed() {
	if !n.session {
		n.claims = noContext
	}
}

// challenge gives the answer of challenge() and derives the session's key.
func (s *server) challenge() []byte {
	private, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{9}, 32))
	if err != nil {
		s.w.fail("%v", err)
	}
	b := append([]byte{1}, private.PublicKey().Bytes()...)
	b = append(b, "sixteen of nonce"...)
	b = binary.BigEndian.AppendUint32(b, s.pid)
	b = append(b, 0, 0, 0, 5, 0, 0, 0x40, 1)
	s.native.key, _ = hkdf.Key(sha256.New, secret, b[33:], "claimpool native file v1\x00k1", 32)
	if s.w.ungated {
		return append(b, 0)
	}
	return append(b, 1)
}

// install is switch(). Every failure is FATAL.
func (s *server) install(b []byte) bool {
	n := &s.native
	n.claims = noContext
	const head, tail = 4 + 2 + 8 + 8 + 32 + 4, 32 // the kid has two letters
	if len(b) < head+2+tail || b[0] != 1 || string(b[4:6]) != "k1" {
		return false
	}
	mac := hmac.New(sha256.New, n.key)
	mac.Write(b[:len(b)-tail])
	counter, expires := binary.BigEndian.Uint64(b[6:]), int64(binary.BigEndian.Uint64(b[14:]))
	if !hmac.Equal(mac.Sum(nil), b[len(b)-tail:]) || counter <= n.counter || expires <= s.clock().Add(-theClock*time.Second).UnixMilli() {
		return false
	}
	key := [32]byte(b[22:54])
	if other := n.counter > 0 && key != n.last; other || b[1]&2 != 0 {
		if s.status != wire.StatusIdle {
			return false
		}
		s.session = session{settings: defaults()}
		clear(s.prepared)
		s.seed = ""
	}
	if n.broken = false; b[1]&1 == 0 {
		s.held = int(b[2]) + 1
	}
	n.counter, n.last, n.expires, n.session = counter, key, expires, b[1]&1 != 0
	n.claims = string(b[head : len(b)-tail])
	return true
}

// allowed looks whether a statement of p may run, and everything that it could read: this is where the model says who may
// see what. first says that it begins a transaction. False means that PostgreSQL itself refuses it.
func (s *server) allowed(p *person, tag string, first bool) bool {
	if s.user != p && s.user.may(p) { // it executes what another of its identity has left, as itself
		p = s.user
	}
	want := string(p.id.Claims)
	switch s.w.dialect.(type) {
	case *trusted.SQL:
		claims, expired := s.sealed()
		switch {
		case expired:
			return false
		case claims == noContext && s.wiped == p.name && (s.seen == 0 || s.seen == s.lease): // whoever wipes harms himself
		case claims != want:
			s.w.fail("a request of %s runs on server %d under %q", p, s.pid, claims)
		}
	case *trusted.Native:
		if want == "" {
			want = "{}"
		}
		claims := s.native.claims
		switch {
		case claims == noContext && first && !p.wild && !s.native.broken:
			s.w.fail("a transaction of %s begins on server %d without a context", p, s.pid)
		case claims == noContext && !s.w.ungated: // the gate is closed
			return false
		case claims == noContext: // every policy sees nobody
		case claims != want:
			s.w.fail("a request of %s runs on server %d under %q", p, s.pid, claims)
		}
		if s.native.expires != math.MaxInt64 && s.w.now.UnixMilli() >= s.native.expires {
			return false
		}
	}
	s.clean(p)
	if first && p.settled == tag && s.settings[appName] != p.app {
		s.w.fail("%s believes that application_name is %q, on server %d it is %q", p, p.app, s.pid, s.settings[appName])
	}
	return true
}

// clean looks at all marks: they must be the identity's own, and in session mode the client's.
func (s *server) clean(p *person) {
	if s.owner == "" {
		s.owner = p.name
	}
	if s.owner != p.name && s.w.strict() {
		s.w.fail("server %d has served %s and serves %s, in a pool with strict isolation", s.pid, s.owner, p.name)
	}
	marks := map[string]string{"temporary table": s.temp, "listening": s.listen, "seed": s.seed}
	for name, value := range s.settings {
		if name != contextSetting && value != ownApp {
			marks[name] = value
		}
	}
	for name, value := range s.prepared {
		marks["prepared "+name] = value
	}
	for what, mark := range marks {
		name, _, _ := strings.Cut(mark, "/")
		if mark != "" && (name != p.name || s.w.sessions() && mark != p.mark()) {
			s.w.fail("%s finds on server %d: %s of %s", p, s.pid, what, mark)
		}
	}
}

// call is the fastpath.
func (s *server) call(body string) {
	oid, args := arguments(body)
	text := ""
	if oid == oidClients {
		text = string(args[0]) + "|"
	}
	if s.interrupted(text, false) {
		s.native.broken = s.native.broken || text == ""
		return
	}
	var value []byte
	if s.status == wire.StatusFailed {
		s.fail("25P02", "current transaction is aborted", false)
		return
	}
	switch oid {
	case oidSetConfig:
		s.settings[string(args[0])] = string(args[1])
		value = args[1]
		if string(args[0]) == contextSetting {
			s.wiped = ""
		}
	case oidMyTempSchema:
		value = []byte("0")
		if s.temp != "" {
			value = []byte("1")
		}
	case oidSetSeed:
		s.seed = ""
	case oidToRegprocedure:
		value = binary.BigEndian.AppendUint32(nil, map[string]uint32{
			"claimpool.challenge()": oidChallenge, "claimpool.switch(pg_catalog.bytea)": oidSwitch,
		}[string(args[0])])
	case oidChallenge:
		value = s.challenge()
	case oidSwitch:
		if !s.install(args[0]) {
			s.fatal("trusted context refused")
			return
		}
		value = []byte{}
	case oidClients:
		tag := string(args[0])
		s.once(tag)
		if !s.allowed(s.w.whose(tag), tag, s.status == wire.StatusIdle) {
			s.fail(claimpool.CodeInvalidAuthorization, "boom "+tag, false)
			return
		}
		value = args[0]
	default:
		s.w.fail("function %d is called", oid)
	}
	s.say(wire.MsgFunctionCallResponse, string(binary.BigEndian.AppendUint32(nil, uint32(len(value))))+string(value))
	s.ready()
}

// arguments reads a FunctionCall.
func arguments(body string) (oid uint32, args [][]byte) {
	b := []byte(body)
	oid = binary.BigEndian.Uint32(b)
	b = b[6+2*int(binary.BigEndian.Uint16(b[4:])):]
	n := binary.BigEndian.Uint16(b)
	b = b[2:]
	for range n {
		size := int32(binary.BigEndian.Uint32(b))
		b = b[4:]
		if size < 0 {
			args = append(args, nil)
			continue
		}
		args = append(args, b[:size])
		b = b[size:]
	}
	return oid, args
}
