package config

import (
	"reflect"
	"strings"
)

// setting is one declared field of the configuration: its tags, and where it stands.
type setting struct {
	name   string   // "size"
	key    string   // "databases.shop.pool.size"; empty for the whole file
	values []string // the allowed words; empty allows all
	bounds string   // "1..100"
	reload bool     // SIGHUP applies it
	isPath bool     // a file
	short  bool     // a scalar in place of its group means this field
	index  int      // in its struct
	field  reflect.StructField
}

// fieldsOf returns the settings of a struct in the order of their declaration. Their keys are not filled in yet.
func fieldsOf(t reflect.Type) []setting {
	var list []setting
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := f.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		s := setting{name: name, index: i, field: f, bounds: f.Tag.Get("bounds"),
			isPath: f.Tag.Get("path") == "yes", short: f.Tag.Get("short") == "yes"}
		if v := f.Tag.Get("values"); v != "" {
			s.values = strings.Split(v, "|")
		}
		list = append(list, s)
	}
	return list
}

func names(list []setting) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = s.name
	}
	return out
}

// path is the key of something below s.
func (s setting) path(name string) string {
	if s.key == "" {
		return name
	}
	return s.key + "." + name
}

// child places a field below s. What it does not say about reloading it takes from s.
func (s setting) child(f setting) setting {
	f.key, f.reload = s.path(f.name), s.reload
	if r, ok := f.field.Tag.Lookup("reload"); ok {
		f.reload = r == "yes"
	}
	return f
}

// element is an element of the list or table s; the tags of s are meant for its elements.
func (s setting) element(key string) setting {
	s.key = key
	return s
}
