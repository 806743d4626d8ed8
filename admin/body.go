package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
)

// readJSON reads a body that must be one JSON object with known members, each spelt as it is declared, and there once: encoding/json would take
// "SUB" for "sub", and the last of two, where somebody else has looked at the first.
func readJSON(r *http.Request, to any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return errors.New("the Content-Type must be application/json")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || !plainObject(body, members(to)) || json.Unmarshal(body, to) != nil {
		return errors.New("the body is not the JSON object that is expected")
	}
	return nil
}

// members are the names of a struct's members in JSON.
func members(of any) map[string]bool {
	names, t := map[string]bool{}, reflect.TypeOf(of).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names[name] = true
	}
	return names
}

// plainObject reports whether a text begins with a JSON object that has each of some members once at most, and no others.
func plainObject(text []byte, names map[string]bool) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return false
	}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok || !names[name] {
			return false
		}
		delete(names, name)
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return false
		}
	}
	return true
}
