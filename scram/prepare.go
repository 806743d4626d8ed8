package scram

import (
	"github.com/xdg-go/stringprep"
	"golang.org/x/text/unicode/norm"
)

// saslPrep is the profile of RFC 4013 as PostgreSQL reads it in pg_saslprep, which differs from the RFC in two ways: the
// zero width space U+200B becomes a space, and the forbidden characters are sought before normalization, not after it.
var saslPrep = stringprep.Profile{
	Mappings: []stringprep.Mapping{mapped, stringprep.TableB1},
	Prohibits: []stringprep.Set{
		stringprep.TableA1, stringprep.TableC1_2, stringprep.TableC2_1, stringprep.TableC2_2, stringprep.TableC3,
		stringprep.TableC4, stringprep.TableC5, stringprep.TableC6, stringprep.TableC7, stringprep.TableC8, stringprep.TableC9,
	},
	CheckBiDi: true,
}

// mapped are the characters of RFC 3454, table C.1.2, which become a space (RFC 4013, section 2.1), and the one of table
// B.1 that the library forgets.
var mapped = func() stringprep.Mapping {
	m := stringprep.Mapping{'\u1806': nil}
	for _, r := range "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u202f\u205f\u3000" {
		m[r] = []rune{' '}
	}
	return m
}()

// prepare is SASLprep (RFC 4013). A password that is not UTF-8, holds forbidden characters, or would become empty is used
// as it is: PostgreSQL wants it so, because such passwords exist.
func prepare(password []byte) string {
	raw := string(password)
	prepared, err := saslPrep.Prepare(raw)
	if err != nil || prepared == "" {
		return raw
	}
	return norm.NFKC.String(prepared)
}
