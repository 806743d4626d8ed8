package trusted

import (
	"sort"
	"strings"
)

// Settings are the parameters that a client has asked for at startup or changed since. Equal sets are one object, so that
// the way of a transaction compares pointers; Intern makes them.
type Settings struct {
	list [][2]string // sorted: late ones last, by name
}

// List gives the settings, sorted. It must not be changed.
func (s *Settings) List() [][2]string { return s.list }

// Foreign reports whether the connection expects texts in another encoding than UTF-8.
func (s *Settings) Foreign() bool {
	if s == nil {
		return false
	}
	for _, kv := range s.list {
		if strings.EqualFold(kv[0], "client_encoding") {
			name := strings.ReplaceAll(strings.ToUpper(kv[1]), "-", "")
			return name != "UTF8" && name != "UNICODE"
		}
	}
	return false
}

// maxSetBytes bounds the table of sets: clients choose what is in it, and PostgreSQL 18 reports a search_path of any length.
const maxSetBytes = 2 << 20

// Intern keeps one object for each set of settings. It belongs to one event loop.
type Intern struct {
	sets  map[string]*Settings
	bytes int // of the keys
}

// Of gives the object for a set. Later settings of a name win; names are compared without case, as PostgreSQL does.
func (in *Intern) Of(params [][2]string) *Settings {
	list := make([][2]string, 0, len(params))
	for _, kv := range params {
		at := -1
		for i := range list {
			if strings.EqualFold(list[i][0], kv[0]) {
				at = i
			}
		}
		if at >= 0 {
			list[at][1] = kv[1]
		} else {
			list = append(list, kv)
		}
	}
	sort.Slice(list, func(i, j int) bool {
		if a, b := late(list[i][0]), late(list[j][0]); a != b {
			return b
		}
		return list[i][0] < list[j][0]
	})
	var key strings.Builder
	for _, kv := range list {
		key.WriteString(kv[0])
		key.WriteByte(0)
		key.WriteString(kv[1])
		key.WriteByte(0)
	}
	if s := in.sets[key.String()]; s != nil {
		return s
	}
	const perSet = 256 // what a set takes beside its texts
	if in.bytes += key.Len() + perSet; in.sets == nil || in.bytes > maxSetBytes {
		in.sets = map[string]*Settings{} // sets in use live on; equal ones made later cost one RESET more
		in.bytes = key.Len() + perSet
	}
	s := &Settings{list: list}
	in.sets[key.String()] = s
	return s
}

// late names the settings that are set behind all others: each is set in a transaction of its own, and under all of these together one
// may wait for others (SET TRANSACTION, DEFERRABLE).
func late(name string) bool {
	const prefix = "default_transaction_"
	return len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// With gives the object for the set s with one setting changed.
func (in *Intern) With(s *Settings, name, value string) *Settings {
	for _, kv := range s.list {
		if strings.EqualFold(kv[0], name) && kv[1] == value {
			return s
		}
	}
	return in.Of(append(append(make([][2]string, 0, len(s.list)+1), s.list...), [2]string{name, value}))
}
