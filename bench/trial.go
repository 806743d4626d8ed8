//go:build linux

package main

import (
	"fmt"
	"slices"
)

// trial is one line of the comparison: a workload with so many clients of one kind.
type trial struct {
	name     string
	workload string // of package load, or a script of pgbench
	clients  int
	tls      bool
	login    string // trust, scram or jwt
	tokens   int    // how many different ones; 0 is none
	alone    bool   // for proxies only, with processes that were started for it
}

// basic workloads run with every number of clients.
var basic = []string{"simple", "extended", "prepared", "transaction"}

// special trials show one thing each.
var special = []trial{
	{name: "simple-tls", workload: "simple", clients: 64, tls: true},
	{name: "context", workload: "context", clients: 64},
	{name: "identity-one", workload: "simple", clients: 64, login: "jwt", tokens: 1},
	{name: "identity-many", workload: "simple", clients: 64, login: "jwt", tokens: maxTokens},
	{name: "download", workload: "download", clients: 8},
	{name: "upload", workload: "upload", clients: 8},
	{name: "storm-trust", workload: "storm", clients: 16},
	{name: "storm-scram", workload: "storm", clients: 16, login: "scram"},
	{name: "storm-jwt", workload: "storm", clients: 16, login: "jwt", tokens: maxTokens},
	{name: "storm-tls", workload: "storm", clients: 16, tls: true},
	{name: "storm-jwt-tls", workload: "storm", clients: 16, tls: true, login: "jwt", tokens: maxTokens},
	{name: "idle", workload: "idle", alone: true},
	{name: "idle-tls", workload: "idle", tls: true, alone: true},
}

// quickly are the trials of -quick.
var quickly = []string{"simple", "extended", "prepared", "transaction", "simple-tls", "identity-one", "identity-many"}

// plan lists the trials that the flags ask for.
func (s *settings) plan() ([]trial, error) {
	counts := s.clients
	switch {
	case counts != nil:
	case s.quick || s.real:
		counts = []int{64}
	default:
		counts = []int{1, 8, 64, 512}
	}
	var all []trial
	for _, name := range basic {
		for _, n := range counts {
			all = append(all, trial{name: name, workload: name, clients: n})
		}
	}
	for i := range all {
		if s.real {
			all[i].name = "real-" + all[i].name
		}
	}
	if s.real {
		all = append(all, trial{name: "real-select", workload: "select", clients: counts[0]},
			trial{name: "real-identity-one", workload: "simple", clients: counts[0], login: "jwt", tokens: 1},
			trial{name: "real-identity-many", workload: "simple", clients: counts[0], login: "jwt", tokens: maxTokens})
	} else {
		for _, t := range special {
			if t.alone {
				t.clients = s.idle
			} else if s.clients != nil {
				t.clients = s.clients[0]
			}
			all = append(all, t)
		}
	}
	wanted := s.trials
	if wanted == nil && s.quick && !s.real {
		wanted = quickly
	}
	if wanted == nil {
		return all, nil
	}
	for _, name := range wanted {
		if !slices.ContainsFunc(all, func(t trial) bool { return t.name == name }) {
			return nil, fmt.Errorf("no trial %q: bench compare -list names them", name)
		}
	}
	return slices.DeleteFunc(all, func(t trial) bool { return !slices.Contains(wanted, t.name) }), nil
}

// user is who logs in: the rules of the proxies choose the method by it and by the database.
func (t *trial) user() string {
	if t.login == "scram" {
		return "scram"
	}
	return "bench"
}

// database is where they go: one with a trusted context for those who have claims.
func (t *trial) database() string {
	if t.login == "jwt" {
		return "identity"
	}
	return "bench"
}

// fits reports whether a target can do the trial at all.
func (t *trial) fits(g *target) bool {
	return g.pid != 0 || !t.alone && !t.tls && t.workload != "storm"
}
