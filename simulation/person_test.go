package simulation

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// person is who sits behind a client: it asks, and knows what it must and must not be answered. Its requests carry tags
// NUMBER.COUNT, so that everybody who meets one knows whose it is.
type person struct {
	w       *world
	name    string // of its identity
	number  int
	id      *claimpool.Identity
	client  *client
	wild    bool // it sends what no driver would: it may be left without answers, but never with others'
	count   int
	asked   []request // those that have not been answered to the end
	heard   []byte    // the beginning of a message
	half    []byte    // the end of a message whose beginning was sent
	app     string    // application_name, as it was told
	status  byte      // the last ReadyForQuery's
	batch   *request  // begun, and without its Sync
	copying bool      // the server waits for its data
	settled string    // the tag of a request before which nothing was under way: app is what it must find
	byeSaid bool
	over    bool // its connection is closed
}

// request is what one ReadyForQuery answers.
type request struct {
	tags []string // in the order in which their rows come
	copy bool     // it may begin a COPY: drivers send nothing behind it
	data bool     // its data were sent with it, and a Sync in front of them that is answered only if no COPY begins: the next request
}

func (p *person) String() string { return fmt.Sprintf("%s/%d", p.name, p.number) }

// mark is what p leaves behind.
func (p *person) mark() string { return p.String() }

func (p *person) tag() string {
	p.count++
	return fmt.Sprintf("%d.%d", p.number, p.count)
}

// whose finds the person that a tag names.
func (w *world) whose(tag string) *person {
	n, err := strconv.Atoi(strings.Split(tag, ".")[0])
	if err != nil || n < 1 || n > len(w.people) {
		w.fail("nobody has asked %q", tag)
	}
	return w.people[n-1]
}

// say sends bytes to the proxy, or only the first cut of them.
func (p *person) say(b []byte, cut int) {
	if p.over {
		return
	}
	if cut > 0 && cut < len(b) {
		b, p.half = b[:cut], b[cut:]
	}
	p.client.conn.in = append(p.client.conn.in, b...)
	p.client.conn.again = true
}

var (
	plain  = []string{"s", "s", "s", "ss", "S", "Ss", "G", "e", "se", "b", "bs", "bS", "bGs", "c", "sc", "r", "P", "T", "L", "z", "W", "bT", "R", "H", "o", "Te", "cs", "bsc", "bSr", "bWe"}
	rare   = []string{"D", "D", "X", "bR", "bH", "bi", "is", "si"}
	single = []string{"s", "s", "S", "e", "b", "c", "r", "P", "T", "G", "o"}
)

// ask sends something that fits the moment. pick chooses what, cut how much of it is sent at once.
func (p *person) ask(pick, cut int) string {
	switch {
	case p.over || p.byeSaid:
		return "is gone"
	case p.half != nil:
		b := p.half
		p.half = nil
		p.say(b, 0)
		return "sends the rest of a message"
	case p.wild && pick%3 == 0:
		return p.rave(pick / 3)
	case p.copying:
		return p.copy(pick)
	case p.batch != nil:
		return p.more(pick, cut)
	}
	if n := len(p.asked); n > 0 && p.asked[n-1].copy {
		return "waits"
	}
	var b []byte
	what := pick % 10
	pick /= 10
	switch {
	case what < 5:
		text := p.tag() + "|" + plain[pick%len(plain)]
		return p.send(wire.AppendQuery(b, text), text, cut)
	case what == 5:
		text := p.tag() + "|" + rare[pick%len(rare)]
		if strings.Contains(text, "i") && len(p.asked) > 0 {
			return "waits"
		}
		return p.send(wire.AppendQuery(b, text), text, cut)
	case what == 6:
		tag := p.tag()
		return p.send(wire.AppendFunctionCall(b, oidClients, []byte(tag)), tag+" as FunctionCall", cut)
	case what == 7 && len(p.asked) == 0:
		text := p.tag() + "|i"
		if pick%2 == 1 {
			return p.copyAtOnce(text, pick/2, cut)
		}
		return p.send(wire.AppendQuery(b, text), text, cut)
	}
	p.batch = &request{}
	return p.more(pick, cut)
}

// send makes one request of b, which begins with its tag.
func (p *person) send(b []byte, text string, cut int) string {
	tag := strings.FieldsFunc(text, func(r rune) bool { return r == '|' || r == ' ' })[0]
	p.settle(tag)
	p.asked = append(p.asked, request{tags: []string{tag}, copy: strings.Contains(text, "i")})
	p.say(b, cut)
	return "asks " + text
}

// settle notes a request that is asked when everything before it has been answered.
func (p *person) settle(tag string) {
	if len(p.asked) == 0 && !p.wild {
		p.settled = tag
	}
}

// more goes on with a batch, or ends it.
func (p *person) more(pick, cut int) string {
	var b []byte
	words := []string{}
	for n := pick % 3; n > 0; n-- {
		text := p.tag() + "|" + single[(pick/3+n)%len(single)]
		b = wire.AppendExecute(wire.AppendDescribe(wire.AppendBind(wire.AppendParse(b, "", text), "", "", nil), wire.KindPortal, ""), "", 0)
		if len(p.batch.tags) == 0 {
			p.settle(strings.Split(text, "|")[0])
		}
		p.batch.tags = append(p.batch.tags, strings.Split(text, "|")[0])
		words = append(words, text)
	}
	if pick%5 == 4 {
		b = wire.AppendFlush(b)
		words = append(words, "Flush")
	} else {
		b = wire.AppendSync(b)
		words = append(words, "Sync")
		p.asked = append(p.asked, *p.batch)
		p.batch = nil
	}
	p.say(b, cut)
	return "sends " + strings.Join(words, ", ")
}

// copyAtOnce sends a COPY by Execute with all that belongs to it.
func (p *person) copyAtOnce(text string, pick, cut int) string {
	b := wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", text), "", "", nil), "", 0)
	b = wire.AppendCopyData(wire.AppendSync(b), []byte("row\n"))
	if pick%3 == 0 {
		b = wire.AppendCopyFail(b, "changed my mind")
	} else {
		b = wire.AppendCopyDone(b)
	}
	said := p.send(wire.AppendSync(b), text, cut) + " at once"
	p.asked[len(p.asked)-1].data = true
	p.asked = append(p.asked, request{copy: true})
	return said
}

// copy sends COPY data, or its end.
func (p *person) copy(pick int) string {
	switch pick % 4 {
	case 0, 1:
		p.say(wire.AppendCopyData(nil, []byte("row\n")), 0)
		return "sends COPY data"
	case 2:
		p.copying = false
		p.say(wire.AppendCopyFail(nil, "changed my mind"), 0)
		return "ends COPY with CopyFail"
	}
	p.copying = false
	p.say(wire.AppendCopyDone(nil), 0)
	return "ends COPY"
}

// rave sends a message that does not belong here.
func (p *person) rave(pick int) string {
	text := p.tag() + "|" + append(plain, rare...)[pick%(len(plain)+len(rare))]
	messages := [][]byte{
		wire.AppendSync(nil), wire.AppendFlush(nil), wire.AppendCopyDone(nil), wire.AppendCopyFail(nil, ""), wire.AppendCopyData(nil, []byte("x")),
		wire.AppendQuery(nil, text), wire.AppendParse(nil, "", text), wire.AppendExecute(wire.AppendBind(nil, "", "", nil), "", 0),
		wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", text), "", "", nil), "", 0),
	}
	m := messages[pick%len(messages)]
	if pick%3 == 0 { // a COPY, with anything that may go wrong around it
		text = p.tag() + "|i"
		m = wire.AppendExecute(wire.AppendBind(wire.AppendParse(nil, "", text), "", "", nil), "", 0)
		for n := pick / 3; n > 0; n /= 6 {
			if n%6 == 5 {
				m = wire.AppendQuery(m, p.tag()+"|s")
			} else {
				m = append(m, messages[n%6]...)
			}
		}
	}
	p.say(m, 0)
	return fmt.Sprintf("sends %c… %s", m[0], text)
}

// leave goes away, politely or not.
func (p *person) leave(politely bool) string {
	if p.over || p.byeSaid {
		return "is gone already"
	}
	p.byeSaid = true
	if politely {
		rest := p.half
		p.half = nil
		p.say(wire.AppendTerminate(rest), 0)
		return "says goodbye"
	}
	p.w.hangups = append(p.w.hangups, p)
	return "closes its connection"
}

// hear takes what comes from the proxy.
func (p *person) hear(b []byte) {
	p.heard = append(p.heard, b...)
	for {
		typ, size, ok, err := wire.Header(p.heard)
		if err != nil {
			p.w.fail("%s hears nonsense", p)
		}
		if !ok || len(p.heard) < wire.HeaderLen+size {
			return
		}
		body := string(p.heard[wire.HeaderLen : wire.HeaderLen+size])
		p.heard = p.heard[wire.HeaderLen+size:]
		p.message(typ, body)
	}
}

func (p *person) message(typ byte, body string) {
	switch typ {
	case wire.MsgDataRow:
		p.answered(body[6:])
	case wire.MsgFunctionCallResponse:
		p.answered(body[4:])
	case wire.MsgCopyData:
		p.answered(body)
	case wire.MsgErrorResponse:
		p.erred(body)
	case wire.MsgCopyInResponse:
		if len(p.asked) > 1 && p.asked[0].data {
			p.asked = p.asked[:1]
			return
		}
		p.copying = true
	case wire.MsgParameterStatus:
		name, value, _ := wire.ParseParameterStatus([]byte(body))
		if owner, _, _ := strings.Cut(value, "/"); value != ownApp && owner != p.name {
			p.w.fail("%s is told of %s = %q", p, name, value)
		}
		p.app = value
	case wire.MsgNotificationResponse:
		if mark := strings.Trim(body[4:], "\x00"); !p.w.sessions() || mark != p.mark() {
			p.w.fail("%s gets a notification for %s", p, mark)
		}
	case wire.MsgReadyForQuery:
		p.status, p.copying = body[0], false
		if len(p.asked) > 0 {
			p.asked = p.asked[1:]
		} else if !p.wild {
			p.w.fail("%s is answered what it did not ask", p)
		}
	}
}

// erred takes an error: one that a request has raised names it.
func (p *person) erred(body string) {
	fields, err := wire.ParseError([]byte(body))
	if err != nil {
		p.w.fail("%s hears a malformed error", p)
	}
	p.copying = false
	if tag, ok := strings.CutPrefix(fields.Message, "boom "); ok && !p.may(p.w.whose(tag)) {
		p.w.fail("%s hears the error of %s", p, p.w.whose(tag))
	}
}

// may says whose requests p may be answered: its own; a wild one may execute what others of its identity have left.
func (p *person) may(owner *person) bool {
	return owner == p || p.wild && owner.name == p.name && !p.w.sessions()
}

// answered takes a row: it must be for the oldest request, and come once.
func (p *person) answered(tag string) {
	owner := p.w.whose(tag)
	if !p.may(owner) {
		p.w.fail("%s is answered the request %s of %s", p, tag, owner)
	}
	if p.wild {
		return
	}
	tags := []string{}
	if len(p.asked) > 0 {
		tags = p.asked[0].tags
	} else if p.batch != nil { // Flush
		tags = p.batch.tags
	}
	for i, t := range tags {
		if t == tag {
			if len(p.asked) > 0 {
				p.asked[0].tags = tags[i:] // a request may have several rows
			}
			return
		}
	}
	p.w.fail("%s is answered %s out of turn: %v", p, tag, p.asked)
}
