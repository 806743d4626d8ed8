package trusted

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claimpool/claimpool"
)

// TestSettingsOfAStartupPacket: what may stand there, and what may not, in whatever case.
func TestSettingsOfAStartupPacket(t *testing.T) {
	var in Intern
	for _, test := range []struct {
		name     string
		settings [][2]string
		want     string
	}{
		{"none", nil, "[]"},
		{"ordinary ones", [][2]string{{"DateStyle", "german"}, {"my.own", ""}}, "[[DateStyle german] [my.own ]]"},
		{"who the connection is", [][2]string{{"Role", "x"}, {"SESSION_authorization", "x"}, {"claimpool.context", "x"}, {"a", "1"}}, "[[a 1]]"},
		{"what is no setting there", [][2]string{{"user", "x"}, {"DATABASE", "x"}, {"Options", "x"}, {"replication", "x"}, {"_pq_.x", "1"}, {"a", "1"}}, "[[a 1]]"},
		{"what only a packet can set", [][2]string{{"Local_preload_libraries", "x"}, {"session_preload_libraries", "x"}, {"post_auth_delay", "9"}, {"ignore_system_indexes", "on"}}, "[]"},
		{"the end of the list", [][2]string{{"", "x"}, {"a", "1"}}, "[[a 1]]"},
		{"a zero byte", [][2]string{{"b\x00user", "x"}, {"c", "x\x00user\x00postgres"}, {"a", "1"}}, "[[a 1]]"},
		{"as long as they may be", [][2]string{{"a", strings.Repeat("x", maxBorn-3)}}, fmt.Sprint([][2]string{{"a", strings.Repeat("x", maxBorn-3)}})},
		{"too long", [][2]string{{"a", strings.Repeat("x", maxBorn-2)}}, "[]"},
	} {
		if got := fmt.Sprint(in.Of(test.settings).Startup(None{})); got != test.want {
			t.Errorf("%s: %s", test.name, got)
		}
	}
	limits := in.Of([][2]string{{"a", "1"}, {"Default_transaction_deferrable", "on"}, {"statement_timeout", "1"}})
	if none, native := limits.Startup(None{}), limits.Startup(&Native{}); len(none) != 3 || fmt.Sprint(native) != "[[a 1]]" {
		t.Errorf("limits: %s without a context, %s in one", none, native)
	}
}

// TestBornWithSettings: a connection that was opened with a client's settings needs no message for them, and goes back to them by every
// reset; with others they are set behind a reset.
func TestBornWithSettings(t *testing.T) {
	var in Intern
	own, more := in.Of([][2]string{{"datestyle", "german"}}), in.Of([][2]string{{"datestyle", "german"}, {"my.own", "x"}})
	nobody := func(subject string) *claimpool.Identity {
		return claimpool.NewIdentity(claimpool.MethodSCRAM, "", subject, "app", nil, nil, time.Time{})
	}
	a, b := nobody("a"), nobody("b")
	now := time.Unix(1700000000, 0)
	s := Session{PID: 1, Sessions: true}
	s.Bear(own)
	hand := func(id *claimpool.Identity, set *Settings) string {
		_, steps := s.Handover(nil, None{}, id, set, now)
		return fmt.Sprint(steps)
	}
	if got := hand(a, own); got != "[]" {
		t.Errorf("the first client: %s", got)
	}
	s.Soil()
	if got, want := hand(b, own), fmt.Sprint(Steps{StepResetFirst, StepReset, StepDiscard}); got != want || s.Settings() != own {
		t.Errorf("another identity with the same settings: %s", got)
	}
	if got, want := hand(b, more), fmt.Sprint(Steps{StepSetting, StepSetting}); got != want {
		t.Errorf("one more setting: %s", got)
	}
	if got, want := hand(b, own), fmt.Sprint(Steps{StepReset}); got != want {
		t.Errorf("without it again: %s", got)
	}
	if own.Equal(more) || own.Equal(nil) || !own.Equal(&Settings{list: [][2]string{{"datestyle", "german"}}}) || !(*Settings)(nil).Equal(in.Of(nil)) {
		t.Error("sets are compared in another way than by what is in them")
	}
}
