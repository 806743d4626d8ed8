package config

import (
	"embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"sync"
	"time"
)

//go:embed config.go audit.go console.go features.go login.go secret.go signout.go targets.go
var sources embed.FS // the comments of the declarations are the manual

// Entry is what the manual says about one setting.
type Entry struct {
	Key     string   // "databases.NAME.pool.size", "rules[].method"
	Text    string   // the manual's paragraph
	Type    string   // "text", "time", "list of files", "group" …
	Values  []string // the allowed words
	Bounds  string   // "1..100"
	Default string   // as it would stand in the file; empty when there is none
	Reload  bool     // SIGHUP applies it
	Short   bool     // a single value in place of the group sets this

	group    bool   // it has settings below it
	declared string // the struct that its settings are declared in
}

// Manual returns all settings in the order of their declaration, groups before what is in them.
var Manual = sync.OnceValue(func() []Entry {
	c := Default()
	m := &manual{comments: comments(), decoder: &decoder{config: c}}
	m.group(reflect.ValueOf(c).Elem(), setting{})
	return m.entries
})

type manual struct {
	comments map[string]string // by "Struct.Field"
	decoder  *decoder          // knows the defaults of new elements
	entries  []Entry
}

// group adds the settings of a struct.
func (m *manual) group(v reflect.Value, s setting) {
	for _, f := range fieldsOf(v.Type()) {
		m.setting(v.Field(f.index), s.child(f), m.comments[v.Type().Name()+"."+f.field.Name])
	}
}

// setting adds one setting, and those below it.
func (m *manual) setting(v reflect.Value, s setting, text string) {
	e := Entry{Key: s.key, Text: text, Values: s.values, Bounds: s.bounds, Reload: s.reload, Short: s.short}
	below := v
	switch kind := v.Kind(); {
	case isScalar(v.Type()):
		e.Type, e.Default = typeName(v.Type(), s), defaultText(v)
	case kind == reflect.Slice && isScalar(v.Type().Elem()):
		e.Type = "list of " + plural(typeName(v.Type().Elem(), s))
	case kind == reflect.Map && isScalar(v.Type().Elem()):
		e.Type = "names, each with a " + typeName(v.Type().Elem(), s)
	case kind == reflect.Slice:
		e.Type, e.group, below = "list of groups", true, m.decoder.fresh(v.Type().Elem())
		s.key += "[]"
	case kind == reflect.Map:
		e.Type, e.group, below = "names, each with a group", true, m.decoder.fresh(v.Type().Elem())
		s.key += ".NAME"
	default:
		e.Type, e.group = "group", true
	}
	e.declared = below.Type().Name()
	if s.key == "listen[]" {
		e.Default = Default().Listen[0].Address
	}
	m.entries = append(m.entries, e)
	if e.group {
		m.group(below, s)
	}
}

func typeName(t reflect.Type, s setting) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "time"
	case t == reflect.TypeFor[int]():
		return "whole number"
	case t == reflect.TypeFor[string]() && s.isPath:
		return "file"
	case t == reflect.TypeFor[string]() && len(s.values) > 0:
		return "word"
	case t == reflect.TypeFor[string]():
		return "text"
	}
	return "network"
}

func plural(name string) string {
	if name == "text" {
		return "texts"
	}
	return name + "s"
}

// defaultText prints a default as it would stand in the file.
func defaultText(v reflect.Value) string {
	if t, ok := v.Interface().(time.Duration); ok {
		return formatDuration(t)
	}
	return fmt.Sprint(v.Interface())
}

// comments reads the declarations of this package: "Struct.Field" to the text of the comment, without line breaks
// inside paragraphs.
func comments() map[string]string {
	texts := map[string]string{}
	list, err := sources.ReadDir(".")
	for _, entry := range list {
		var text []byte
		if text, err = sources.ReadFile(entry.Name()); err != nil {
			break
		}
		var file *ast.File
		if file, err = parser.ParseFile(token.NewFileSet(), entry.Name(), text, parser.ParseComments); err != nil {
			break
		}
		commentsOf(file, texts)
	}
	if err != nil {
		panic("config: its own source does not parse: " + err.Error()) // cannot happen: it has been compiled
	}
	return texts
}

// commentsOf adds the comments of one file to texts.
func commentsOf(file *ast.File, texts map[string]string) {
	ast.Inspect(file, func(n ast.Node) bool {
		t, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if st, ok := t.Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				for _, name := range f.Names {
					texts[t.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
		}
		return false
	})
}
