package auth

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
)

// judged is a rule whose passwords somebody else judges: "correct" is right, for "down" there is no answer.
func judged(m claimpool.Method, asked *[]string) Rule {
	return Rule{Method: m, Check: func(_ context.Context, user string, password claimpool.Secret, address string) (string, bool, error) {
		*asked = append(*asked, user+" "+address)
		switch {
		case user == "down":
			return "", false, errors.New("no answer")
		case string(password) != "correct":
			return "", true, errors.New("no")
		case user == "anna":
			return "uid=anna,dc=x", false, nil
		}
		return "", false, nil
	}}
}

func TestPasswordsThatOthersJudge(t *testing.T) {
	var asked []string
	der, _ := certificate(t)
	for _, test := range []struct {
		user, password, subject string
		code                    claimpool.Code
		message                 string
	}{
		{"anna", "correct", "uid=anna,dc=x", "", ""},
		{"bert", "correct", "bert", "", ""},
		{"anna", "wrong", "", claimpool.CodeInvalidAuthorization, `LDAP authentication failed for user "anna"`},
		{"anna", "", "", claimpool.CodeInvalidAuthorization, `LDAP authentication failed for user "anna"`},
		{"down", "correct", "", claimpool.CodeCannotConnectNow, "could not check the password"},
		{strings.Repeat("r", 64), "correct", "", claimpool.CodeInvalidAuthorization, "role not allowed"},
	} {
		id, err := newAuth(t, judged(claimpool.MethodLDAP, &asked)).Authenticate(t.Context(), overTLS(test.user, der), sends(test.password))
		if test.code != "" {
			refused(t, err, test.code, test.message)
		} else if err != nil || id.Subject != test.subject || id.Role != test.user || id.Method != claimpool.MethodLDAP {
			t.Errorf("%s: %+v %v", test.user, id, err)
		}
	}
	if got := strings.Join(asked, ","); got != "anna 192.0.2.7,bert 192.0.2.7,anna 192.0.2.7,down 192.0.2.7" {
		t.Errorf("asked for %s", got)
	}
	a := newAuth(t, judged(claimpool.MethodPAM, &asked))
	a.throttle = newThrottle(Throttle{Failures: 1, Window: 1e12}, a.clock)
	for range 5 { // an outage counts for nobody
		_, err := a.Authenticate(t.Context(), overTLS("down", der), sends("correct"))
		refused(t, err, claimpool.CodeCannotConnectNow, "")
	}
	_, err := a.Authenticate(t.Context(), overTLS("anna", der), sends("wrong"))
	refused(t, err, claimpool.CodeInvalidAuthorization, `PAM authentication failed for user "anna"`)
	_, err = a.Authenticate(t.Context(), overTLS("anna", der), sends("correct"))
	refused(t, err, claimpool.CodeConnectionRejected, "too many failed logins")
}

// TestAttackPasswordOnPlainTCP: somebody listens on the network where users log in with the passwords of a directory.
//
// Must: The password is not asked for, by any rule but one that says tls "any".
// Dialects: none
func TestAttackPasswordOnPlainTCP(t *testing.T) {
	var asked []string
	for _, method := range []claimpool.Method{claimpool.MethodLDAP, claimpool.MethodPAM} {
		for _, transport := range []Transport{TLSDefault, TLSRequired} {
			rule, c := judged(method, &asked), sends("correct")
			rule.TLS = transport
			_, err := newAuth(t, rule).Authenticate(t.Context(), overTCP("anna"), c)
			refused(t, err, claimpool.CodeInvalidAuthorization, "")
			if len(c.sent) > 0 {
				t.Errorf("%s: the client was asked: %q", method, c.sent)
			}
		}
		rule := judged(method, &asked)
		rule.TLS = TLSOff
		if _, err := New(Config{Rules: []Rule{rule}}); err == nil {
			t.Errorf("%s: a rule for connections in the clear was taken", method)
		}
	}
	if len(asked) > 0 {
		t.Errorf("asked for %s", asked)
	}
	if _, err := New(Config{Rules: []Rule{{Method: claimpool.MethodLDAP}}}); err == nil {
		t.Error("a rule without a judge was taken")
	}
}
