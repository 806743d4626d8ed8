package revocation_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/revocation"
)

// An entry that is taken back leaves others of the same person in force, whoever has made them, and in whatever order they are read.
func TestUndo(t *testing.T) {
	subject := func(id int64, before time.Time, byIssuer bool) revocation.Entry {
		e := entryOf(t, revocation.Request{Issuer: issuer, Subject: "ann", Before: before}, noon)
		e.ID, e.ByIssuer = id, byIssuer
		return e
	}
	undo := func(id, of int64) revocation.Entry {
		e := subject(id, time.Time{}, false)
		e.Kind, e.Undoes = revocation.KindUndo, of
		return e
	}
	stranger := undo(3, 1)
	stranger.Mark = claimpool.NewMark(claimpool.MarkSubject, issuer, "bob")
	later := noon.Add(time.Minute)
	early, late := claimpool.NewProof(issuer, "", "", noon, "ann"), claimpool.NewProof(issuer, "", "", later, "ann")
	for name, test := range map[string]struct {
		list        []revocation.Entry
		early, late bool // signed out
	}{
		"one":                      {[]revocation.Entry{subject(1, noon, false), undo(2, 1)}, false, false},
		"the later of two":         {[]revocation.Entry{subject(1, noon, false), subject(2, later, false), undo(3, 2)}, true, false},
		"the earlier of two":       {[]revocation.Entry{subject(1, noon, false), subject(2, later, false), undo(3, 1)}, true, true},
		"both":                     {[]revocation.Entry{subject(1, noon, false), subject(2, later, false), undo(3, 1), undo(4, 2)}, false, false},
		"revoked again":            {[]revocation.Entry{subject(1, noon, false), undo(2, 1), subject(3, noon, false)}, true, false},
		"beside a logout":          {[]revocation.Entry{subject(1, noon, true), subject(2, later, false), undo(3, 2)}, true, false},
		"a logout":                 {[]revocation.Entry{subject(1, later, true), undo(2, 1)}, true, true},
		"of what is not there":     {[]revocation.Entry{subject(1, noon, false), undo(2, 7)}, true, false},
		"of nothing":               {[]revocation.Entry{subject(0, noon, false), undo(2, 0)}, true, false},
		"of another person's mark": {[]revocation.Entry{subject(2, noon, false), stranger}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(how string, s *revocation.Set) {
				if a, b := s.SignedOut(&early, noon), s.SignedOut(&late, noon); a != test.early || b != test.late {
					t.Errorf("%s: signed out: %t %t", how, a, b)
				}
				if n := s.Len(); (n > 0) != test.early {
					t.Errorf("%s: %d entries", how, n)
				}
			}
			s, _ := clocked(revocation.Options{Keep: time.Hour})
			for i := range test.list {
				s.Add(test.list[i:i+1], noon)
			}
			check("one by one", s)
			s.Add(test.list, noon) // a new connection reads all of them
			check("and all again", s)
			s, _ = clocked(revocation.Options{Keep: time.Hour})
			s.Add(test.list, noon)
			check("at once", s)
		})
	}
}

// A table that lost the row of a revocation, or has one with its number for somebody else, signs nobody in.
func TestUndoOfAnotherTable(t *testing.T) {
	s, _ := clocked(revocation.Options{Keep: time.Hour})
	first := entryOf(t, revocation.Request{Issuer: issuer, Subject: "ann"}, noon)
	first.ID = 1
	s.Add([]revocation.Entry{first}, noon)
	first.Before = noon.Add(time.Minute) // number 1 of a new table
	if !s.Add([]revocation.Entry{first}, noon) {
		t.Error("it reaches further")
	}
	proof := claimpool.NewProof(issuer, "", "", noon.Add(time.Minute), "ann")
	if !s.SignedOut(&proof, noon) {
		t.Error("not signed out")
	}
}

// All proxies take a revocation back that was made by mistake, and one that starts later never learns of it. What an issuer has
// ended stays ended.
func TestProxiesShareAnUndo(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shared) {
		a, changes, stop := s.follow(t, time.Minute)
		b, _, _ := s.follow(t, time.Minute)
		issued := time.Now().Add(-time.Second)
		ann, bob := claimpool.NewProof(issuer, "j", "", issued, "ann"), claimpool.NewProof(issuer, "j2", "", issued, "bob")
		once := claimpool.NewMark("logout", issuer, "l1")
		for _, r := range []revocation.Request{{Issuer: issuer, Subject: "ann"}, {Issuer: issuer, Token: "j"}} {
			if err := s.revoke(t, r, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.revoke(t, revocation.Request{Issuer: issuer, Subject: "bob"}, &once); err != nil {
			t.Fatal(err)
		}
		for _, set := range []*revocation.Set{a, b} {
			soon(t, "both are signed out", func() bool { return set.SignedOut(&ann, issued) && set.SignedOut(&bob, issued) })
		}
		list, err := s.table.List(t.Context())
		if err != nil || len(list) != 4 || list[2].Kind != "logout" || !list[3].ByIssuer || list[0].ByIssuer {
			t.Fatalf("%+v %v", list, err)
		}
		had := changes.Load()
		for i, want := range []error{nil, nil, revocation.ErrUnknown, revocation.ErrByIssuer} {
			if err := s.table.Undo(t.Context(), list[i].ID, "the wrong Ann"); !errors.Is(err, want) {
				t.Errorf("%d: %v, want %v", i, err, want)
			}
			if err := s.table.Undo(t.Context(), list[i].ID, ""); err == nil {
				t.Errorf("%d: twice", i)
			}
		}
		for _, set := range []*revocation.Set{a, b} {
			soon(t, "ann is back", func() bool { return !set.SignedOut(&ann, issued) })
			if !set.SignedOut(&bob, issued) {
				t.Error("and bob is too")
			}
		}
		if changes.Load() != had {
			t.Error("somebody was looked for whose session has to end")
		}
		after, err := s.table.List(t.Context())
		if err != nil || len(after) != 6 || after[0].UndoneBy != after[4].ID || after[3].UndoneBy != 0 || after[4].Reason != "the wrong Ann" {
			t.Fatalf("%+v %v", after, err)
		}
		for _, id := range []int64{after[4].ID, 12345, 0, -1} { // what takes back is not taken back
			if err := s.table.Undo(t.Context(), id, ""); !errors.Is(err, revocation.ErrUnknown) {
				t.Errorf("%d: %v", id, err)
			}
		}
		if err := s.table.Undo(t.Context(), 1, strings.Repeat("a", 201)); !errors.Is(err, revocation.ErrLongReason) {
			t.Error(err)
		}
		stop()
		again, _, _ := s.follow(t, time.Minute) // after a restart
		if again.SignedOut(&ann, issued) || !again.SignedOut(&bob, issued) {
			t.Error("a restart has forgotten what was taken back, or more")
		}
	})
}

// Old rows go in the order of their numbers: what takes a revocation back is never gone before it, even when that one reaches far.
func TestUndoOutlivesItsRevocation(t *testing.T) {
	eachVersion(t, func(t *testing.T, s *shared) {
		before := time.Now().Add(24 * time.Hour)
		e, err := (&revocation.Request{Issuer: issuer, Subject: "ann", Before: before}).Entry()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.table.Revoke(t.Context(), []revocation.Entry{e}, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.table.Undo(t.Context(), 1, ""); err != nil {
			t.Fatal(err)
		}
		s.Exec(t, s.db, "update claimpool_revocation.revocations set made = made - interval '2 hours'")
		admin := s.Connect(t, s.db, cluster.Superuser, "")
		var gone int64
		if err := admin.QueryRow(t.Context(), "select claimpool_revocation.forget('1 hour')").Scan(&gone); err != nil || gone != 0 {
			t.Errorf("%d rows are gone, %v", gone, err)
		}
		set, _, _ := s.follow(t, time.Minute)
		if ann := claimpool.NewProof(issuer, "", "", time.Now(), "ann"); set.SignedOut(&ann, time.Now()) {
			t.Error("it is in force again")
		}
	})
}
