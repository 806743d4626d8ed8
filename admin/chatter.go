package admin

import (
	"context"
	"strings"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/wire"
)

// What drivers say by themselves: settings, the beginnings and ends of transactions, signs of life. It is answered and does nothing.

// endings are the states in which words leave a transaction; others change none.
var endings = map[string]byte{
	"BEGIN": wire.StatusInTransaction, "START": wire.StatusInTransaction, "COMMIT": wire.StatusIdle, "END": wire.StatusIdle, "ROLLBACK": wire.StatusIdle,
	"ABORT": wire.StatusIdle, "SET": 0, "RESET": 0, "DISCARD": 0, "DEALLOCATE": 0, "UNLISTEN": 0, "CLOSE": 0,
}

// tags are the command tags that differ from the first word.
var tags = map[string]string{"START": "START TRANSACTION", "END": "COMMIT", "ABORT": "ROLLBACK", "CLOSE": "CLOSE CURSOR", "DISCARD": "DISCARD ALL"}

func (p *parser) chatter() (*statement, error) {
	first := p.peek()
	if first == "SELECT" {
		return p.life()
	}
	status, known := endings[first]
	if !known {
		return nil, syntax("this is no command of the console", hintCommands)
	}
	if first == "SET" && mentions(p.tokens, "jwt") {
		return nil, &claimpool.Error{Code: claimpool.CodeFeatureNotSupported, Message: "the console takes no fresh token", Hint: "Connect again with it."}
	}
	dropped := p.dropped()
	p.tokens = nil
	tag := first
	if t, ok := tags[first]; ok {
		tag = t
	}
	return &statement{name: first, tag: tag, quiet: true, run: func(_ context.Context, s *session, _ []string) (result, error) {
		if status != 0 {
			s.status = status
		}
		if dropped == all {
			clear(s.statements)
		}
		delete(s.statements, dropped)
		return result{}, nil
	}}, nil
}

// all is no name of a statement.
const all = "\x00"

// dropped is the prepared statement that DEALLOCATE or DISCARD names, or all; empty: none.
func (p *parser) dropped() string {
	last := p.tokens[len(p.tokens)-1]
	isAll := last.kind == word && strings.EqualFold(last.text, "all")
	switch first := p.peek(); {
	case (first == "DISCARD" || first == "DEALLOCATE") && isAll:
		return all
	case first == "DEALLOCATE" && last.kind == name:
		return last.text
	case first == "DEALLOCATE" && len(p.tokens) > 1:
		return strings.ToLower(last.text)
	}
	return ""
}

func mentions(tokens []token, name string) bool {
	for _, t := range tokens {
		if strings.HasPrefix(strings.ToLower(t.text), name) {
			return true
		}
	}
	return false
}

// life is SELECT 1 and SELECT version(), by which pools and drivers see that a connection is alive, and what it is.
func (p *parser) life() (*statement, error) {
	var b strings.Builder
	for _, t := range p.tokens {
		if t.kind != word && t.kind != sign {
			b.WriteString("?")
		}
		b.WriteString(strings.ToLower(t.text) + " ")
	}
	var c []column
	var v func(*session) any
	switch strings.TrimSpace(b.String()) {
	case "select 1":
		c, v = columns("?column? small"), func(*session) any { return int64(1) }
	case "select version ( )", "select pg_catalog . version ( )":
		c, v = columns("version"), func(s *session) any { return "claimpool " + s.Version }
	default:
		return nil, syntax("the console has no SQL", hintCommands)
	}
	p.tokens = nil
	return &statement{name: "SELECT", tag: "SELECT 1", quiet: true, columns: c, run: func(_ context.Context, s *session, _ []string) (result, error) {
		return result{rows: [][]any{{v(s)}}}, nil
	}}, nil
}

// settings are what SHOW tells of a session, for drivers that ask.
var settings = map[string]string{
	"client_encoding": "UTF8", "server_encoding": "UTF8", "standard_conforming_strings": "on", "integer_datetimes": "on", "timezone": "UTC", "datestyle": "ISO, YMD",
	"transaction_isolation": "read committed", "search_path": "", "default_transaction_read_only": "off", "transaction_read_only": "off",
}

// showSetting reads SHOW with the name of a setting; nil when it has none.
func (p *parser) showSetting() *statement {
	if len(p.tokens) == 0 || p.tokens[0].kind == quoted {
		return nil
	}
	key := strings.ToLower(p.tokens[0].text)
	if key == "transaction" && len(p.tokens) == 3 { // SHOW TRANSACTION ISOLATION LEVEL
		key, p.tokens = "transaction_isolation", p.tokens[:1]
	}
	v, ok := settings[key]
	if !ok {
		return nil
	}
	p.tokens = p.tokens[1:]
	return &statement{name: "SHOW", tag: "SHOW", quiet: true, columns: columns(key), run: func(context.Context, *session, []string) (result, error) {
		return result{rows: [][]any{{v}}}, nil
	}}
}
