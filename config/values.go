package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Value is a setting as it is in force, for administrators.
type Value struct {
	Key    string
	Text   string
	Reload bool // a reload changes it
}

// Values lists all settings in force, by their keys. Secrets are not in them, and neither is what might hold one: of a secret there is the kind of its
// place, of a parameter for servers that there is one, and of an address what stands in front of the host is left out.
func (c *Config) Values() []Value {
	l := &lister{}
	l.value(reflect.ValueOf(c).Elem(), setting{})
	slices.SortStableFunc(l.list, func(a, b Value) int { return cmp.Compare(a.Key, b.Key) })
	return l.list
}

type lister struct{ list []Value }

func (l *lister) note(s setting, text string) { l.list = append(l.list, Value{s.key, text, s.reload}) }

func (l *lister) value(v reflect.Value, s setting) {
	switch secret, isSecret := v.Interface().(Secret); {
	case isSecret:
		l.note(s, strings.Join(secret.places(), ", "))
	case isScalar(v.Type()):
		l.note(s, withoutSecrets(defaultText(v)))
	case v.Kind() == reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			l.value(v.Field(f.index), s.child(f))
		}
	case v.Kind() == reflect.Slice && isScalar(v.Type().Elem()):
		texts := make([]string, v.Len())
		for i := range texts {
			texts[i] = withoutSecrets(defaultText(v.Index(i)))
		}
		l.note(s, strings.Join(texts, ", "))
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			l.value(v.Index(i), s.element(fmt.Sprintf("%s[%d]", s.key, i)))
		}
	case v.Kind() == reflect.Map:
		scalars := isScalar(v.Type().Elem())
		for _, name := range slices.SortedFunc(maps.Keys(keysOf(v)), strings.Compare) {
			child := s.element(s.path(name))
			if scalars {
				l.note(child, "set")
				continue
			}
			l.value(v.MapIndex(reflect.ValueOf(name)), child)
		}
	}
}

func keysOf(v reflect.Value) map[string]bool {
	keys := map[string]bool{}
	for _, k := range v.MapKeys() {
		keys[k.String()] = true
	}
	return keys
}

// secretWord finds a secret in a connection string, which the check refuses there.
var secretWord = regexp.MustCompile(`(?i)\b(\w*(?:password|secret|token|key)\w*\s*=\s*)('[^']*'|[^\s&;]+)`)

// withoutSecrets takes out of a text what may be a secret.
func withoutSecrets(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return secretWord.ReplaceAllString(text, "${1}redacted")
	}
	_, has := u.User.Password()
	web := u.Scheme == "http" || u.Scheme == "https"
	switch {
	case has:
		u.User = url.UserPassword(u.User.Username(), "redacted")
	case web && u.User != nil: // it may be a token
		u.User = url.User("redacted")
	}
	if web && u.RawQuery != "" { // it may hold one under any name
		u.RawQuery = "redacted"
	}
	if u.User != nil || web {
		text = u.String()
	}
	return secretWord.ReplaceAllString(text, "${1}redacted")
}
