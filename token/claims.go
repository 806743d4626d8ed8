package token

type member struct {
	name  string
	value []byte
}

type object struct{ members []member }

func (o *object) get(name string) (member, bool) { return member{}, false }

// CheckClaims reads a payload under the rules for claims and returns it without the white space between its values. The
// error is a *Refusal.
func CheckClaims(payload []byte) ([]byte, error) {
	return nil, &Refusal{Reason: Malformed, Text: "not there yet"}
}
