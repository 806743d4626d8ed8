package judge_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// directory is a false LDAP server: it knows some entries, and misbehaves on command.
type directory struct {
	address string
	secure  *tls.Config

	mu      sync.Mutex
	entries map[string]string   // password by distinguished name
	found   map[string][]string // distinguished names by filter
	code    uint16              // of every bind that fails; 0 means 49, invalid credentials
	garbage string              // sent in place of every answer
	silent  bool                // nothing is answered
	asleep  bool                // nor in TLS, once it has agreed to begin that
	dies    bool                // at every login but the search's
	asked   []string
}

func startDirectory(t *testing.T, secure *tls.Config, implicit bool) *directory {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	d := &directory{address: "ldap://localhost:" + port, secure: secure, entries: map[string]string{}, found: map[string][]string{}}
	if implicit {
		d.address = "ldaps://localhost:" + port
		l = tls.NewListener(l, secure)
	}
	var wg sync.WaitGroup
	var conns sync.Map
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, true)
			wg.Go(func() { d.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return d
}

// told is what the directory was asked so far.
func (d *directory) told() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.asked, "\n")
}

func (d *directory) change(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = nil
	f()
}

func (d *directory) serve(c net.Conn) {
	defer func() { c.Close() }()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		d.mu.Lock()
		replies, upgrade := d.answer(p.Children[0].Value.(int64), p.Children[1])
		silent, garbage := d.silent, d.garbage
		asleep, gone := d.asleep && upgrade, d.dies && len(d.asked) > 0 && isLogin(d.asked[len(d.asked)-1])
		d.mu.Unlock()
		switch {
		case gone:
			return
		case silent:
			continue
		case garbage != "":
			c.Write([]byte(garbage))
			continue
		}
		for _, r := range replies {
			c.Write(r.Bytes())
		}
		if asleep {
			io.Copy(io.Discard, c)
			return
		}
		if upgrade {
			c = tls.Server(c, d.secure)
		}
	}
}

func isLogin(line string) bool { return strings.HasPrefix(line, "bind ") && line != "bind "+searchDN }

// answer is what an honest directory says to one request.
func (d *directory) answer(id int64, op *ber.Packet) (replies []*ber.Packet, upgrade bool) {
	switch op.Tag {
	case ldap.ApplicationBindRequest:
		name, password := op.Children[1].Value.(string), op.Children[2].Data.String()
		d.asked = append(d.asked, "bind "+name)
		code := uint16(ldap.LDAPResultSuccess)
		if known, ok := d.entries[name]; password != "" && (!ok || known != password) {
			if code = d.code; code == 0 {
				code = ldap.LDAPResultInvalidCredentials
			}
		}
		return []*ber.Packet{result(id, ldap.ApplicationBindResponse, code)}, false
	case ldap.ApplicationSearchRequest:
		filter, _ := ldap.DecompileFilter(op.Children[6])
		d.asked = append(d.asked, "search "+op.Children[0].Value.(string)+" "+filter)
		for _, dn := range d.found[filter] {
			entry := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
			entry.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, dn, ""))
			entry.AppendChild(ber.NewSequence(""))
			replies = append(replies, message(id, entry))
		}
		return append(replies, result(id, ldap.ApplicationSearchResultDone, ldap.LDAPResultSuccess)), false
	case ldap.ApplicationExtendedRequest:
		d.asked = append(d.asked, "start TLS")
		if d.secure == nil {
			return []*ber.Packet{result(id, ldap.ApplicationExtendedResponse, ldap.LDAPResultUnwillingToPerform)}, false
		}
		return []*ber.Packet{result(id, ldap.ApplicationExtendedResponse, ldap.LDAPResultSuccess)}, true
	}
	return nil, false
}

func message(id int64, op *ber.Packet) *ber.Packet {
	p := ber.NewSequence("")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(op)
	return p
}

func result(id int64, tag ber.Tag, code uint16) *ber.Packet {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "tell-tale", ""))
	return message(id, op)
}
