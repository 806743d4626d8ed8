package config

import (
	"errors"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isScalar reports whether a setting of this type is a single value.
func isScalar(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[string](), reflect.TypeFor[int](), reflect.TypeFor[time.Duration](), reflect.TypeFor[netip.Prefix]():
		return true
	}
	return false
}

func isScalarNode(n ast.Node) bool {
	_, ok := n.(ast.ScalarNode)
	_, null := n.(*ast.NullNode)
	return ok && !null
}

// textOf returns a scalar as it stands in the file: 1.20 is "1.20", not 1.2.
func textOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	}
	return n.GetToken().Value
}

// describe names the kind of a node for people.
func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "further settings"
	case *ast.NullNode:
		return "nothing"
	}
	return "a single value"
}

// duration reads a time with its unit: what time.ParseDuration reads, and days.
func duration(text string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(text, 64); err == nil && text != "0" {
		return 0, errors.New("has no unit")
	}
	rest, days := text, time.Duration(0)
	if number, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(number, 10, 15)
		if err != nil {
			return 0, errors.New("must be a time, not " + quote(text))
		}
		rest, days = after, time.Duration(n)*24*time.Hour
	}
	if rest == "" && days > 0 {
		return days, nil
	}
	t, err := time.ParseDuration(rest)
	if err != nil || t < 0 || days+t < 0 {
		return 0, errors.New("must be a time, not " + quote(text))
	}
	return days + t, nil
}

// formatDuration is the inverse of duration, without superfluous zeros: 1h, not 1h0m0s.
func formatDuration(t time.Duration) string {
	text := t.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// network reads "10.0.0.0/8", or an address that stands for itself alone.
func network(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errors.New("not an address")
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// maxQuote keeps a whole file, pasted by mistake, out of a message.
const maxQuote = 40

func quote(text string) string {
	if runes := []rune(text); len(runes) > maxQuote {
		text = string(runes[:maxQuote]) + "…"
	}
	return strconv.Quote(text)
}

// either joins words: a, b or c.
func either(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
