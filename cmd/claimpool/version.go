package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set by the release build: -ldflags "-X main.version=1.2.3".
var version = "development"

type versionCommand struct{}

// Run prints what was built, from what, and with what.
func (versionCommand) Run(env *environment) error {
	fmt.Fprintf(env.out, "claimpool %s (%s)\n", version, strings.Join(buildFacts(), ", "))
	return nil
}

func buildFacts() []string {
	facts := []string{runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return facts
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			facts = append(facts, "commit "+s.Value[:min(len(s.Value), 12)])
		case s.Key == "vcs.time":
			facts = append(facts, s.Value)
		case s.Key == "vcs.modified" && s.Value == "true":
			facts = append(facts, "with changes")
		}
	}
	return facts
}
