package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

//go:generate go test -run ^TestCommandsPage$ . -update

// TestCommandsPage compares docs/reference/commands.md with what --help prints; -update, which pgtest declares, rewrites it.
func TestCommandsPage(t *testing.T) {
	const path = "../../docs/reference/commands.md"
	t.Setenv("COLUMNS", "80") // kong fits the help to the terminal
	page := commandsPage(t)
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(path, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, page) {
		t.Errorf("%s is not what --help prints; run: go generate ./cmd/claimpool (%v)", path, err)
	}
}

func commandsPage(t *testing.T) []byte {
	t.Helper()
	var page bytes.Buffer
	fmt.Fprintf(&page, "# Commands\n\n<!-- Generated from the help texts by \"go generate ./cmd/claimpool\". Do not edit. -->\n\n")
	fmt.Fprintf(&page, "```text\n%s```\n", help(t))
	for _, leaf := range parser(&commands{}, &environment{}).Model.Leaves(true) {
		fmt.Fprintf(&page, "\n## claimpool %s\n\n```text\n%s```\n", leaf.Path(), help(t, words(leaf)...))
	}
	return page.Bytes()
}

// words are the names that lead to a command.
func words(n *kong.Node) []string {
	if n.Parent == nil {
		return nil
	}
	return append(words(n.Parent), n.Name)
}

func help(t *testing.T, command ...string) string {
	t.Helper()
	var out bytes.Buffer
	if status := run(&environment{out: &out, err: &out}, append(command, "--help")); status != statusOK {
		t.Fatalf("%v --help: status %d\n%s", command, status, &out)
	}
	var text strings.Builder
	for line := range strings.Lines(out.String()) {
		text.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return text.String()
}
