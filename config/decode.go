package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// maxDepth is deeper than any setting; it stops a file of nothing but brackets.
const maxDepth = 16

// decoder copies YAML nodes into a Config, and collects everything that is wrong on the way.
type decoder struct {
	config   *Config
	problems Problems
	depth    int
}

// problem notes that something is wrong at a node; with no node, with the file as a whole.
func (d *decoder) problem(n ast.Node, key, message, hint string) {
	p := Problem{File: d.config.file, Key: key, Message: message, Hint: hint}
	if at := positionOf(n); at.line > 0 {
		p.Line, p.Column = at.line, at.column
	}
	d.problems = append(d.problems, p)
}

func positionOf(n ast.Node) position {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return position{}
	}
	at := n.GetToken().Position
	return position{at.Line, at.Column}
}

// value decodes a node into the setting s, which lives in v.
func (d *decoder) value(n ast.Node, v reflect.Value, s setting) {
	d.depth++
	defer func() { d.depth-- }()
	if d.depth > maxDepth {
		d.problem(n, s.key, "nested too deeply", "")
		return
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.problem(n, s.key, "YAML anchors, aliases and tags are not supported", "Write the value out.")
		return
	}
	switch {
	case isScalar(v.Type()):
		d.scalar(n, v, s)
	case v.Kind() == reflect.Struct:
		d.group(n, v, s)
	case v.Kind() == reflect.Slice:
		d.list(n, v, s)
	case v.Kind() == reflect.Map:
		d.table(n, v, s)
	}
}

// entries returns the entries of a mapping node; ok is false for anything else. Nothing at all is an empty mapping.
func entries(n ast.Node) (list []*ast.MappingValueNode, ok bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	case *ast.NullNode:
		return nil, true
	}
	return nil, false
}

// group decodes a mapping with known keys.
func (d *decoder) group(n ast.Node, v reflect.Value, s setting) {
	list, ok := entries(n)
	fields := fieldsOf(v.Type())
	if !ok {
		if i := slices.IndexFunc(fields, func(f setting) bool { return f.short }); i >= 0 && isScalarNode(n) {
			d.value(n, v.Field(fields[i].index), s.child(fields[i]))
			return
		}
		if v.Type() == reflect.TypeFor[Secret]() {
			d.problem(n, s.key, "a secret is never written into this file", `Say where it is: "file: PATH", "env: NAME" or "command: [PROGRAM, ARGUMENT]".`)
			return
		}
		d.problem(n, s.key, "needs settings below it, not "+describe(n), "The settings are: "+strings.Join(names(fields), ", ")+".")
		return
	}
	given := make([]*ast.MappingValueNode, len(fields))
	for _, e := range list {
		name, ok := d.key(e, s)
		if !ok {
			continue
		}
		i := slices.IndexFunc(fields, func(f setting) bool { return f.name == name })
		switch {
		case i < 0:
			d.problem(e.Key, s.path(name), "unknown key", suggest(name, names(fields)))
		case given[i] != nil:
			d.problem(e.Key, s.path(name), fmt.Sprintf("given twice, first in line %d", positionOf(given[i].Key).line), "Remove one of them.")
		default:
			given[i] = e
		}
	}
	// In the order of the declaration, not of the file: databases begin as a copy of the pool settings.
	for i, e := range given {
		if e == nil {
			continue
		}
		child := s.child(fields[i])
		d.config.at[child.key] = positionOf(e.Key)
		d.value(e.Value, v.Field(fields[i].index), child)
	}
}

// table decodes a mapping whose keys are names that the user chose.
func (d *decoder) table(n ast.Node, v reflect.Value, s setting) {
	list, ok := entries(n)
	if !ok {
		d.problem(n, s.key, "needs names below it, not "+describe(n), `As in "`+s.name+`: {NAME: …}".`)
		return
	}
	out := reflect.MakeMap(v.Type())
	for _, e := range list {
		name, ok := d.key(e, s)
		if !ok {
			continue
		}
		child := s.element(s.path(name))
		if out.MapIndex(reflect.ValueOf(name)).IsValid() {
			d.problem(e.Key, child.key, fmt.Sprintf("given twice, first in line %d", d.config.at[child.key].line), "Remove one of them.")
			continue
		}
		d.config.at[child.key] = positionOf(e.Key)
		elem := d.fresh(v.Type().Elem())
		d.value(e.Value, elem, child)
		out.SetMapIndex(reflect.ValueOf(name), elem)
	}
	v.Set(out)
}

// list decodes a sequence, or a single value that stands for a list of one.
func (d *decoder) list(n ast.Node, v reflect.Value, s setting) {
	items := []ast.Node{n}
	switch n := n.(type) {
	case *ast.SequenceNode:
		items = n.Values
	case *ast.NullNode:
		items = nil
	}
	out := reflect.MakeSlice(v.Type(), 0, len(items))
	for i, item := range items {
		child := s.element(fmt.Sprintf("%s[%d]", s.key, i))
		d.config.at[child.key] = positionOf(item)
		elem := d.fresh(v.Type().Elem())
		d.value(item, elem, child)
		out = reflect.Append(out, elem)
	}
	v.Set(out)
}

// key returns the text of a mapping's key.
func (d *decoder) key(e *ast.MappingValueNode, s setting) (string, bool) {
	switch k := e.Key.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return k.GetToken().Value, true
	}
	d.problem(e.Key, s.key, "a key must be plain text", "YAML merge keys, anchors and complex keys are not supported.")
	return "", false
}

// fresh returns a new element of a list or table, with its defaults.
func (d *decoder) fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch p := v.Addr().Interface().(type) {
	case *Issuer:
		*p = d.config.NewIssuer()
	case *Rule:
		*p = d.config.NewRule()
	case *Database:
		*p = d.config.NewDatabase()
	case *Target:
		*p = NewTarget()
	}
	return v
}

// scalar decodes a single value.
func (d *decoder) scalar(n ast.Node, v reflect.Value, s setting) {
	if _, ok := n.(*ast.NullNode); ok {
		d.problem(n, s.key, "has no value", "Give one, or remove the key.")
		return
	}
	if !isScalarNode(n) {
		d.problem(n, s.key, "needs a single value, not "+describe(n), "")
		return
	}
	text := textOf(n)
	switch p := v.Addr().Interface().(type) {
	case *string:
		if len(s.values) > 0 && !slices.Contains(s.values, text) {
			d.problem(n, s.key, "must be "+either(s.values)+", not "+quote(text), suggest(text, s.values))
			return
		}
		if s.isPath {
			text = d.config.absolute(text)
		}
		*p = text
	case *int:
		i, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
		if err != nil {
			d.problem(n, s.key, "must be a whole number, not "+quote(text), "")
			return
		}
		d.bounds(n, s, func(limit string) int { l, _ := strconv.Atoi(limit); return i - l })
		*p = i
	case *time.Duration:
		t, err := duration(text)
		if err != nil {
			d.problem(n, s.key, err.Error(), "Write a number and a unit: 500ms, 30s, 10m, 1h30m or 7d.")
			return
		}
		d.bounds(n, s, func(limit string) int { l, _ := duration(limit); return int(max(-1, min(1, t-l))) })
		*p = t
	case *netip.Prefix:
		prefix, err := network(text)
		if err != nil {
			d.problem(n, s.key, "must be an address or a network, not "+quote(text), `As in "10.0.0.0/8", "192.168.1.7" or "::1".`)
			return
		}
		*p = prefix
	}
}

// bounds notes a value outside of the setting's bounds. compare tells where the value is from a limit.
func (d *decoder) bounds(n ast.Node, s setting, compare func(limit string) int) {
	low, high, _ := strings.Cut(s.bounds, "..")
	switch {
	case low != "" && compare(low) < 0:
		d.problem(n, s.key, "must be at least "+low, "")
	case high != "" && compare(high) > 0:
		d.problem(n, s.key, "must be at most "+high, "")
	}
}
