package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Diff names the settings that differ between two configurations: those that a running proxy can take over, and those
// that need a restart.
func Diff(before, after *Config) (reloadable, restart []string) {
	d := &differ{}
	d.value(reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem(), setting{})
	return d.reloadable, d.restart
}

type differ struct{ reloadable, restart []string }

func (d *differ) note(s setting) {
	if s.reload {
		d.reloadable = append(d.reloadable, s.key)
	} else {
		d.restart = append(d.restart, s.key)
	}
}

func (d *differ) value(a, b reflect.Value, s setting) {
	switch kind := a.Kind(); {
	case isScalar(a.Type()):
		if !a.Equal(b) {
			d.note(s)
		}
	case kind == reflect.Struct:
		for _, f := range fieldsOf(a.Type()) {
			d.value(a.Field(f.index), b.Field(f.index), s.child(f))
		}
	case kind == reflect.Slice:
		if a.Len() != b.Len() {
			d.note(s)
			return
		}
		for i := range a.Len() {
			d.value(a.Index(i), b.Index(i), s.element(fmt.Sprintf("%s[%d]", s.key, i)))
		}
	case kind == reflect.Map:
		d.table(a, b, s)
	}
}

// table compares two maps with names as their keys.
func (d *differ) table(a, b reflect.Value, s setting) {
	all := map[string]bool{}
	for _, m := range []reflect.Value{a, b} {
		for _, k := range m.MapKeys() {
			all[k.String()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		k, child := reflect.ValueOf(name), s.element(s.path(name))
		x, y := a.MapIndex(k), b.MapIndex(k)
		if !x.IsValid() || !y.IsValid() {
			d.note(child)
			continue
		}
		d.value(x, y, child)
	}
}
