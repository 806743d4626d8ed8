// Package mapping evaluates the expressions of a configuration over the claims of a token, in the Common Expression Language
// (CEL): which conditions must hold, which database roles come out, and which claims the database sees. It does not know who signed a
// token, nor whether it is valid: it is asked about verified claims only.
//
// Expressions are checked when they are compiled, and cost-limited when they run: an expression comes from the operator, but
// what it goes through comes from an issuer.
package mapping

import (
	"errors"
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// Bounds of one expression. A token has up to 64 kB: without a limit two loops over its claims, one in the other, could take
// minutes.
const (
	maxCost       = 10_000  // of one run, in CEL's units: a test of each of 1,000 groups takes about 5,000, and some milliseconds
	maxExpression = 8 << 10 // bytes of text
)

// Spec are the expressions of one issuer; empty ones are left out. The variables are claims (a map), and for Role also
// subject and user (strings): the token's subject, and the user name that is asked for.
type Spec struct {
	Conditions []string // each gives a bool, and must be true
	Role       string   // gives a string or a list of strings: the roles that the token allows
	Context    string   // gives a map: the claims that the database sees
}

// Mapping are compiled expressions. It is safe for concurrent use.
type Mapping struct {
	conditions []cel.Program
	role       cel.Program // nil when there is none
	context    cel.Program // nil when there is none
}

// Error is an expression that cannot be compiled.
type Error struct {
	Field        string // Conditions, Role or Context
	Index        int    // of the condition
	Line, Column int    // in the expression, from 1
	Text         string
}

// Error gives the place in the expression and the text.
func (e *Error) Error() string {
	return fmt.Sprintf("%s (line %d, column %d of the expression)", e.Text, e.Line, e.Column)
}

// Compile checks the expressions: their syntax, names and types. Claims have no type before there is a token, so a misspelt
// claim is found only at a login, which is refused. A failure is an *Error.
func Compile(spec Spec) (*Mapping, error) {
	if len(spec.Conditions) == 0 && spec.Role+spec.Context == "" {
		return &Mapping{}, nil
	}
	claims := cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType))
	env, err := cel.NewEnv(claims)
	if err != nil {
		return nil, err
	}
	withUser, err := env.Extend(cel.Variable("subject", cel.StringType), cel.Variable("user", cel.StringType))
	if err != nil {
		return nil, err
	}
	m := &Mapping{conditions: make([]cel.Program, len(spec.Conditions))}
	for i, text := range spec.Conditions {
		if m.conditions[i], err = compile(env, text, "a bool", isBool); err != nil {
			return nil, at(err, "Conditions", i)
		}
	}
	if spec.Role != "" {
		if m.role, err = compile(withUser, spec.Role, "a string or a list of strings", isText); err != nil {
			return nil, at(err, "Role", 0)
		}
	}
	if spec.Context != "" {
		if m.context, err = compile(env, spec.Context, `a map, as in {"sub": claims.sub}`, isMap); err != nil {
			return nil, at(err, "Context", 0)
		}
	}
	return m, nil
}

// at says which expression an error is in.
func at(err error, field string, index int) error {
	var e *Error
	if errors.As(err, &e) {
		e.Field, e.Index = field, index
	}
	return err
}

// What an expression may give. Of claims nothing is known before there are some (dyn): then it is looked at when it runs.
func isBool(t *cel.Type) bool { return t.Kind() == types.BoolKind || t.Kind() == types.DynKind }

func isString(t *cel.Type) bool { return t.Kind() == types.StringKind || t.Kind() == types.DynKind }

func isText(t *cel.Type) bool {
	return isString(t) || t.Kind() == types.ListKind && isString(t.Parameters()[0])
}

func isMap(t *cel.Type) bool {
	return t.Kind() == types.DynKind || t.Kind() == types.MapKind && isString(t.Parameters()[0])
}

// compile makes a program of an expression whose type fits.
func compile(env *cel.Env, text, what string, fits func(*cel.Type) bool) (cel.Program, error) {
	if len(text) > maxExpression {
		return nil, &Error{Line: 1, Column: 1, Text: fmt.Sprintf("the expression is longer than %d bytes", maxExpression)}
	}
	ast, issues := env.Compile(text)
	if issues != nil && issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, &Error{Line: max(first.Location.Line(), 1), Column: first.Location.Column() + 1, Text: first.Message}
	}
	if !fits(ast.OutputType()) {
		return nil, &Error{Line: 1, Column: 1, Text: fmt.Sprintf("the expression gives %s, not %s", ast.OutputType(), what)}
	}
	return env.Program(ast, cel.CostLimit(maxCost))
}

// Condition says which condition does not hold, from 1; 0 when all do. The error is for who holds the token, never for a log: it
// may show claims.
func (m *Mapping) Condition(claims []byte) (failed int, err error) {
	if len(m.conditions) == 0 {
		return 0, nil
	}
	vars, err := variables(claims)
	if err != nil {
		return 1, err
	}
	for i, c := range m.conditions {
		value, _, err := c.Eval(vars)
		if err != nil {
			return i + 1, err
		}
		if value != types.True {
			return i + 1, nil
		}
	}
	return 0, nil
}

// Roles gives the roles that the claims allow. The error may show claims.
func (m *Mapping) Roles(claims []byte, subject, user string) ([]string, error) {
	if m.role == nil {
		return nil, errors.New("there is no expression for the role")
	}
	vars, err := variables(claims)
	if err != nil {
		return nil, err
	}
	vars["subject"], vars["user"] = subject, user
	value, _, err := m.role.Eval(vars)
	if err != nil {
		return nil, err
	}
	return texts(value)
}

// HasContext reports whether the claims for the database are made by an expression.
func (m *Mapping) HasContext() bool { return m.context != nil }

// Context gives the JSON object that the database sees. The error may show claims.
func (m *Mapping) Context(claims []byte) ([]byte, error) {
	if m.context == nil {
		return nil, errors.New("there is no expression for the context")
	}
	vars, err := variables(claims)
	if err != nil {
		return nil, err
	}
	value, _, err := m.context.Eval(vars)
	if err != nil {
		return nil, err
	}
	return object(value)
}

// texts reads a string or a list of strings.
func texts(value ref.Val) ([]string, error) {
	if s, ok := value.(types.String); ok {
		return []string{string(s)}, nil
	}
	list, err := elements(value)
	if err != nil {
		return nil, errors.New("it gives neither a string nor a list of strings")
	}
	out := make([]string, len(list))
	for i, v := range list {
		s, ok := v.(types.String)
		if !ok {
			return nil, errors.New("it gives a list that holds something else than strings")
		}
		out[i] = string(s)
	}
	return out, nil
}
