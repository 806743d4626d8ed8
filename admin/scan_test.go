package admin

import (
	"errors"
	"strings"
	"testing"

	"github.com/claimpool/claimpool"
)

// FuzzCommand: any text is a command, empty, or refused in words of ours; and a value that is quoted comes out as it went in.
func FuzzCommand(f *testing.F) {
	for _, sql := range []string{"SHOW POOLS", "REVOKE SUB 'ann' ISSUER $1 BEFORE 'x'", "KILL CLIENT 7;", "SET a = \"b\"", "SELECT pg_catalog.version()", "'", "$99", "PAUSE DATABASE ('a''b')", "\x00"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		tokens, err := scan(sql)
		if err == nil && len(tokens) > 0 {
			var st *statement
			if st, err = (&parser{tokens: tokens}).statement(); err == nil && (st.run == nil || st.name == "" || st.params > maxParams) {
				t.Errorf("%+v", st)
			}
		}
		var e *claimpool.Error
		if err != nil && (!errors.As(err, &e) || e.Message == "") {
			t.Errorf("%v", err)
		}
		quotedOnce, err := scan("'" + strings.ReplaceAll(sql, "'", "''") + "'")
		if err == nil && (len(quotedOnce) != 1 || quotedOnce[0].kind != quoted || quotedOnce[0].text != sql) {
			t.Errorf("%q has become %+v", sql, quotedOnce)
		}
	})
}
