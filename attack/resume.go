package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// resume reads what an earlier run has left in a file, keeps there what it says about the attacks that have held, and gives
// the others: those that are still to run.
func resume(file string, attacks []*attack) (rest []*attack, err error) {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	o, err := results(bytes.NewReader(wholeLines(text)), io.Discard)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	ran := func(a *attack) bool {
		t := o.tests[a.room+" "+a.name]
		return t != nil && t.action == "pass"
	}
	var kept []byte
	for line := range bytes.Lines(wholeLines(text)) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		top, _, _ := strings.Cut(e.Test, "/")
		if slices.ContainsFunc(attacks, func(a *attack) bool { return a.room == room(e.Package) && a.name == top && ran(a) }) {
			kept = append(kept, line...)
		}
	}
	rest = slices.DeleteFunc(slices.Clone(attacks), ran)
	return rest, errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, kept, 0o644))
}

// wholeLines leaves out the last line where it has no end: the run was stopped in the middle of it.
func wholeLines(text []byte) []byte { return text[:bytes.LastIndexByte(text, '\n')+1] }

// keep gives a reader that appends everything that is read to a file, and the function that closes it.
func keep(r io.Reader, file string) (io.Reader, func() error, error) {
	if file == "" {
		return r, func() error { return nil }, nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, nil, err
	}
	w := bufio.NewWriter(f)
	return io.TeeReader(r, w), func() error { return errors.Join(w.Flush(), f.Close()) }, nil
}
