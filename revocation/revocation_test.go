package revocation_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/revocation"
)

const issuer = "https://id.example.com"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// clocked is a set whose time the test moves.
func clocked(opts revocation.Options) (*revocation.Set, *time.Time) {
	now := noon
	opts.Clock = func() time.Time { return now }
	if opts.Keep == 0 {
		opts.Keep = time.Hour
	}
	return revocation.New(opts), &now
}

func entryOf(t *testing.T, r revocation.Request, made time.Time) revocation.Entry {
	t.Helper()
	e, err := r.Entry()
	if err != nil {
		t.Fatal(err)
	}
	e.Made = made
	if e.Before.IsZero() && (r.Subject != "" || r.All) {
		e.Before = made // as the table does
	}
	return e
}

func TestWhoIsRevoked(t *testing.T) {
	early, late := noon.Add(-time.Minute), noon.Add(time.Minute)
	hash := claimpool.NewMark(claimpool.MarkToken, issuer, "j1")
	ann := func(issued time.Time) claimpool.Proof {
		return claimpool.NewProof(issuer, "j1", "s1", issued, "ann", "sub-of-ann")
	}
	for name, test := range map[string]struct {
		revoke  revocation.Request
		proof   claimpool.Proof
		revoked bool
	}{
		"its token":                     {revocation.Request{Issuer: issuer, Token: "j1"}, ann(late), true},
		"its token, by its hash":        {revocation.Request{Hash: hex.EncodeToString(hash[:])}, ann(late), true},
		"another token":                 {revocation.Request{Issuer: issuer, Token: "j2"}, ann(early), false},
		"the same jti elsewhere":        {revocation.Request{Issuer: "https://other.example", Token: "j1"}, ann(early), false},
		"its session":                   {revocation.Request{Issuer: issuer, Session: "s1"}, ann(late), true},
		"a session called like a token": {revocation.Request{Issuer: issuer, Session: "j1"}, ann(late), false},
		"the subject":                   {revocation.Request{Issuer: issuer, Subject: "ann"}, ann(early), true},
		"the subject's other name":      {revocation.Request{Issuer: issuer, Subject: "sub-of-ann"}, ann(early), true},
		"at the same moment":            {revocation.Request{Issuer: issuer, Subject: "ann"}, ann(noon), true},
		"a later token of the subject":  {revocation.Request{Issuer: issuer, Subject: "ann"}, ann(late), false},
		"until a later time":            {revocation.Request{Issuer: issuer, Subject: "ann", Before: late}, ann(late), true},
		"nobody knows how old it is":    {revocation.Request{Issuer: issuer, Subject: "ann"}, ann(time.Time{}), true},
		"another subject":               {revocation.Request{Issuer: issuer, Subject: "an"}, ann(early), false},
		"everything of the issuer":      {revocation.Request{Issuer: issuer, All: true}, ann(early), true},
		"later ones of the issuer":      {revocation.Request{Issuer: issuer, All: true}, ann(late), false},
		"everything of another issuer":  {revocation.Request{Issuer: issuer + "/", All: true}, ann(early), false},
		"a password user of that name":  {revocation.Request{Issuer: issuer, Subject: "ann"}, claimpool.Proof{Login: true, Marks: claimpool.NewProof("", "", "", early, "ann").Marks}, false},
		"a password user":               {revocation.Request{Subject: "ann"}, claimpool.Proof{Login: true, Marks: claimpool.NewProof("", "", "", early, "ann").Marks}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := clocked(revocation.Options{StaleAfter: time.Minute})
			s.Add([]revocation.Entry{entryOf(t, test.revoke, noon)}, noon)
			if got := s.SignedOut(&test.proof, early); got != test.revoked {
				t.Errorf("signed out: %t", got)
			}
			if got, err := s.Revoked(&test.proof); got != test.revoked && !test.proof.Login || err != nil {
				t.Errorf("revoked: %t, %v", got, err)
			}
		})
	}
}

// A subject whose session is named in the logout is signed out of that session, and of tokens that name none.
func TestTokensWithoutASession(t *testing.T) {
	s, _ := clocked(revocation.Options{})
	s.Add([]revocation.Entry{{Kind: claimpool.MarkSessionless, Mark: claimpool.NewMark(claimpool.MarkSessionless, issuer, "ann"), Before: noon, Made: noon}}, noon)
	with, without := claimpool.NewProof(issuer, "", "s2", noon, "ann"), claimpool.NewProof(issuer, "", "", noon, "ann")
	if s.SignedOut(&with, noon) || !s.SignedOut(&without, noon) {
		t.Error("the wrong one is signed out")
	}
}

func TestGenerationsAndTheEndOfEntries(t *testing.T) {
	s, now := clocked(revocation.Options{Keep: time.Hour})
	early := entryOf(t, revocation.Request{Issuer: issuer, Subject: "ann"}, noon)
	proof := claimpool.NewProof(issuer, "", "", noon, "ann")
	if !s.Add([]revocation.Entry{early}, noon) || s.Generation() != 1 {
		t.Error("it is new")
	}
	if s.Add([]revocation.Entry{early}, noon) || s.Generation() != 1 {
		t.Error("it is not new a second time")
	}
	if later := entryOf(t, revocation.Request{Issuer: issuer, Subject: "ann"}, noon.Add(time.Minute)); !s.Add([]revocation.Entry{later}, noon) || s.Generation() != 2 {
		t.Error("the same subject later is new")
	}
	s.Add([]revocation.Entry{early}, noon) // an older row does not take the newer one back
	if after := claimpool.NewProof(issuer, "", "", noon.Add(time.Minute), "ann"); !s.SignedOut(&after, noon) {
		t.Error("an older row has taken a newer one back")
	}
	if s.Add(nil, noon); !s.SignedOut(&proof, noon) {
		t.Error("an empty table has signed somebody in again")
	}
	if s.Add([]revocation.Entry{{Kind: "logout", Made: noon}, {Kind: "nonsense", Made: noon}}, noon); s.Len() != 1 {
		t.Errorf("%d entries", s.Len())
	}
	*now = noon.Add(time.Hour)
	if s.Forget(); s.Len() != 1 {
		t.Error("forgotten while a token may be alive")
	}
	*now = noon.Add(time.Hour + 11*time.Minute + time.Second)
	if s.Forget(); s.Len() != 0 || s.SignedOut(&proof, noon) {
		t.Error("not forgotten")
	}
}

func TestStaleKnowledge(t *testing.T) {
	proof := claimpool.NewProof(issuer, "", "", noon, "ann")
	s, now := clocked(revocation.Options{StaleAfter: time.Minute})
	if _, err := s.Revoked(&proof); !errors.Is(err, revocation.ErrStale) {
		t.Errorf("before the first look: %v", err)
	}
	s.Add(nil, noon)
	if revoked, err := s.Revoked(&proof); revoked || err != nil {
		t.Errorf("fresh: %t %v", revoked, err)
	}
	*now = noon.Add(time.Minute + 1)
	if _, err := s.Revoked(&proof); !errors.Is(err, revocation.ErrStale) {
		t.Errorf("a minute later: %v", err)
	}
	if s.SignedOut(&proof, noon) {
		t.Error("those who are in are not ended for it")
	}
	if lax, _ := clocked(revocation.Options{StaleAfter: time.Minute, Lax: true}); lax.Add(nil, noon.Add(-time.Hour)) {
		t.Error("nothing is new")
	} else if revoked, err := lax.Revoked(&proof); revoked || err != nil {
		t.Errorf("lax: %t %v", revoked, err)
	}
}

func TestRequests(t *testing.T) {
	for name, r := range map[string]revocation.Request{
		"nothing":                {Issuer: issuer},
		"two things":             {Issuer: issuer, Subject: "ann", Token: "j"},
		"a token of nobody":      {Token: "j"},
		"a session of nobody":    {Session: "s"},
		"everything of nobody":   {All: true},
		"a token before a time":  {Issuer: issuer, Token: "j", Before: noon},
		"a short hash":           {Hash: "abcd"},
		"a hash of other digits": {Hash: strings.Repeat("xy", 32)},
		"a long subject":         {Issuer: issuer, Subject: strings.Repeat("a", 256)},
		"a long issuer":          {Issuer: strings.Repeat("a", 1025), All: true},
		"a long reason":          {Issuer: issuer, Subject: "ann", Reason: strings.Repeat("a", 201)},
	} {
		if e, err := r.Entry(); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
