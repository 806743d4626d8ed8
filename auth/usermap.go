package auth

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// UserMap says which users a name from outside may be, like pg_ident.conf ("User Name Maps"). A nil map lets everybody be the user of
// the same name alone.
type UserMap struct{ lines []mapLine }

// mapLine lets one name, or all that an expression matches, be one user.
type mapLine struct {
	name    string
	pattern *regexp.Regexp // in place of name
	user    string         // \1 stands for what the first group of the pattern has matched
}

// Add adds a line. from is a name, or a regular expression behind a slash, which must begin with ^ and end with $: a pattern that
// matches somewhere in a name lets strangers choose theirs.
func (m *UserMap) Add(from, user string) error {
	line := mapLine{name: from, user: user}
	if text, ok := strings.CutPrefix(from, "/"); ok {
		if !strings.HasPrefix(text, "^") || !strings.HasSuffix(text, "$") || strings.HasSuffix(text, `\$`) {
			return errors.New("the regular expression must begin with ^ and end with $: it must match the whole name")
		}
		p, err := regexp.Compile(`\A(?:` + text[1:len(text)-1] + `)\z`)
		if err != nil {
			return errors.New("the regular expression cannot be understood (RE2)")
		}
		line.pattern = p
	}
	switch {
	case from == "" || user == "":
		return errors.New("a name is empty")
	case strings.Contains(user, `\1`) && (line.pattern == nil || line.pattern.NumSubexp() == 0):
		return errors.New(`\1 needs a regular expression with a group`)
	}
	m.lines = append(m.lines, line)
	return nil
}

// allows reports whether somebody of that name may be the user.
func (m *UserMap) allows(name, user string) bool {
	if m == nil {
		return name == user
	}
	for _, line := range m.lines {
		if line.allows(name, user) {
			return true
		}
	}
	return false
}

func (l mapLine) allows(name, user string) bool {
	if l.pattern == nil {
		return l.name == name && l.user == user
	}
	found := l.pattern.FindStringSubmatch(name)
	if found == nil {
		return false
	}
	to := l.user
	if strings.Contains(to, `\1`) {
		if found[1] == "" {
			return false
		}
		to = strings.ReplaceAll(to, `\1`, found[1])
	}
	return to == user
}

// String names the map for messages.
func (m *UserMap) String() string { return fmt.Sprintf("a map of %d lines", len(m.lines)) }
