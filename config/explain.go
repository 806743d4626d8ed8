package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Explain tells all that the manual says about a key. It understands the key as it is written in messages
// ("databases.shop.pool.size", "rules[2].tls"), and its last parts alone ("pool.size", "queue_wait").
func Explain(key string) (string, error) {
	found := find(key)
	switch len(found) {
	case 0:
		return "", fmt.Errorf("there is no setting %s. %s", quote(key), suggest(key, allNames(key)))
	case 1:
		return found[0].explain(), nil
	}
	var b strings.Builder
	for i, e := range found {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(e.explain())
	}
	return b.String(), nil
}

var subscript = regexp.MustCompile(`\[[^\]]*\]`)

// find returns the entries that a key means: the one with this very key, else those that end in it, without repeating
// a setting that several groups share.
func find(key string) []Entry {
	want := strings.Split(subscript.ReplaceAllString(key, ""), ".")
	var ends []Entry
	for _, e := range Manual() {
		have := strings.Split(subscript.ReplaceAllString(e.Key, ""), ".")
		if matches(have, want) {
			return []Entry{e}
		}
		same := func(o Entry) bool { return o.Text == e.Text }
		if len(have) > len(want) && matches(have[len(have)-len(want):], want) && !slices.ContainsFunc(ends, same) {
			ends = append(ends, e)
		}
	}
	return ends
}

// matches compares a key with one of the manual, where NAME stands for any name.
func matches(have, want []string) bool {
	return slices.EqualFunc(have, want, func(h, w string) bool { return h == w || h == "NAME" && w != "" })
}

// allNames returns what could have been meant: full keys for a key with dots, last parts otherwise.
func allNames(key string) []string {
	var list []string
	for _, e := range Manual() {
		name := e.Key
		if i := strings.LastIndex(name, "."); i >= 0 && !strings.Contains(key, ".") {
			name = name[i+1:]
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// explain prints an entry for people.
func (e Entry) explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", e.Key, e.facts())
	for _, line := range wrap(e.Text, 96) {
		b.WriteString("  " + line + "\n")
	}
	if e.group {
		b.WriteString("  Settings: " + strings.Join(e.below(), ", ") + "\n")
	}
	return b.String()
}

// facts prints what is known of a setting besides its text.
func (e Entry) facts() string {
	facts := []string{e.Type}
	if len(e.Values) > 0 {
		facts = append(facts, either(e.Values))
	}
	if e.Bounds != "" {
		low, high, _ := strings.Cut(e.Bounds, "..")
		switch {
		case low == "":
			facts = append(facts, "at most "+high)
		case high == "" && low == "0s":
			// every time is at least that
		case high == "":
			facts = append(facts, "at least "+low)
		default:
			facts = append(facts, low+" to "+high)
		}
	}
	if e.Default != "" {
		facts = append(facts, "default "+e.Default)
	}
	if e.Reload {
		return strings.Join(append(facts, "reloaded by SIGHUP"), "; ")
	}
	return strings.Join(append(facts, "needs a restart"), "; ")
}

// below names the settings right below a group.
func (e Entry) below() []string {
	var list []string
	for _, o := range Manual() {
		rest, ok := strings.CutPrefix(o.Key, e.Key)
		rest = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(rest, "[]"), ".NAME"), ".")
		if ok && rest != "" && o.Key != e.Key && !strings.Contains(rest, ".") {
			list = append(list, rest)
		}
	}
	return list
}

// wrap breaks a text into lines of at most width letters, where words allow.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
