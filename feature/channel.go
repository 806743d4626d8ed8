package feature

import (
	"encoding/json"
	"errors"
	"strings"
)

// Channel is a template for the names of channels that an identity may listen to:
//
//	template = 1*( text / "${" claim "}" / "*" )
//
// A claim stands for its value in the client's token, which must be a text or a whole number; where it has none, the template
// gives nothing. "*" stands for any text. Two of them must have text in between.
//
// A name must never belong to two people. So "*" does not go over the character in front of it or behind it in the template, and
// a claim whose value holds one of these characters gives nothing: with "tenant_${id}_*" nobody whose id is "1" hears
// "tenant_1_2_orders", which may be meant for the tenant "1_2".
type Channel struct{ parts []part }

type part struct {
	kind kind
	text string // of text, or the name of the claim
}

type kind uint8

const (
	text kind = iota
	claim
	star
)

// ParseChannel reads a template.
func ParseChannel(template string) (Channel, error) {
	var c Channel
	rest := template
	for _, r := range template {
		if r <= ' ' || r > '~' {
			return Channel{}, errors.New("it may hold visible characters of ASCII only")
		}
	}
	for rest != "" {
		var p part
		switch i := strings.IndexAny(rest, "*$"); {
		case strings.HasPrefix(rest, "*"):
			p, rest = part{kind: star}, rest[1:]
		case strings.HasPrefix(rest, "${"):
			name, after, ok := strings.Cut(rest[2:], "}")
			if !ok || name == "" {
				return Channel{}, errors.New("${ must be followed by the name of a claim and }")
			}
			p, rest = part{kind: claim, text: name}, after
		case i < 0:
			p, rest = part{text: rest}, ""
		default:
			if i == 0 {
				i = 1 // a dollar that is one
			}
			p, rest = part{text: rest[:i]}, rest[i:]
		}
		if n := len(c.parts); n > 0 {
			last := &c.parts[n-1]
			switch {
			case last.kind == text && p.kind == text:
				last.text += p.text
				continue
			case last.kind != text && p.kind != text:
				return Channel{}, errors.New("there must be text between two claims or *")
			}
		}
		c.parts = append(c.parts, p)
	}
	if len(c.parts) == 0 {
		return Channel{}, errors.New("it is empty")
	}
	return c, nil
}

// around gives the characters next to a part: those that its text must not hold.
func (c *Channel) around(i int) string {
	var s string
	if i > 0 {
		before := c.parts[i-1].text
		s = before[len(before)-1:]
	}
	if i+1 < len(c.parts) {
		s += c.parts[i+1].text[:1]
	}
	return s
}

// Permission says which channels an identity may listen to. The zero value allows none.
type Permission struct {
	all      bool
	patterns [][]piece
}

// piece is a text, or any text without some characters.
type piece struct {
	text string
	any  bool
	not  string
}

// AllChannels is the permission for everything.
func AllChannels() *Permission { return &Permission{all: true} }

// Permit gives the permission of an identity with claims, which may be nil.
func Permit(channels []Channel, claims []byte) *Permission {
	var values map[string]json.RawMessage
	if len(claims) > 0 && json.Unmarshal(claims, &values) != nil {
		return &Permission{}
	}
	p := &Permission{}
	for i := range channels {
		if pattern, ok := channels[i].pattern(values); ok {
			p.patterns = append(p.patterns, pattern)
		}
	}
	return p
}

func (c *Channel) pattern(values map[string]json.RawMessage) ([]piece, bool) {
	var list []piece
	for i, p := range c.parts {
		switch p.kind {
		case text:
			list = append(list, piece{text: p.text})
		case star:
			list = append(list, piece{any: true, not: c.around(i)})
		case claim:
			v, err := valueOf(values[p.text])
			if err != nil || strings.ContainsAny(v, c.around(i)) {
				return nil, false
			}
			list = append(list, piece{text: v})
		}
	}
	return list, true
}

// valueOf reads a claim that is a text or a whole number.
func valueOf(raw json.RawMessage) (string, error) {
	if len(raw) == 0 {
		return "", errors.New("no such claim")
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		s = string(raw)
		if strings.Trim(s, "-0123456789") != "" {
			return "", errors.New("neither a text nor a whole number")
		}
	}
	if s == "" || strings.IndexByte(s, 0) >= 0 {
		return "", errors.New("no value")
	}
	return s, nil
}

// Allows reports whether a channel may be listened to.
func (p *Permission) Allows(channel string) bool {
	if p.all {
		return true
	}
	for _, pattern := range p.patterns {
		if matches(pattern, channel) {
			return true
		}
	}
	return false
}

// matches needs no second try: what "*" stands for ends in front of the first character of what follows.
func matches(pattern []piece, s string) bool {
	for _, p := range pattern {
		if !p.any {
			if !strings.HasPrefix(s, p.text) {
				return false
			}
			s = s[len(p.text):]
			continue
		}
		if i := strings.IndexAny(s, p.not); i >= 0 {
			s = s[i:]
		} else {
			s = ""
		}
	}
	return s == ""
}
