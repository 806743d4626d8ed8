package claimpool_test

import (
	"go/ast"
	"go/constant"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestErrorsPage compares docs/reference/errors.md with the code: every SQLSTATE and every text of a *claimpool.Error that
// stands in the code as one literal must be there, and nothing that the page lists may be gone.
func TestErrorsPage(t *testing.T) {
	page, err := os.ReadFile("docs/reference/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	codes, sent := sqlstates(t), map[string]bool{}
	for _, s := range sources(t) {
		if s.test || s.room == "pgtest" || strings.HasPrefix(s.room, "bench") {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || !isError(lit.Type) {
				return true
			}
			code, message := errorFields(lit)
			if code == "" {
				return true
			}
			sent[codes[code]] = true
			row := "| " + codes[code] + " | `" + message + "` |"
			if message != "" && !strings.Contains(string(page), row) {
				t.Errorf("%s: docs/reference/errors.md has no row that begins with %s", s.line(n), row)
			}
			return true
		})
	}
	for _, m := range regexp.MustCompile("(?m)^\\| (\\w{5}) \\| `").FindAllStringSubmatch(string(page), -1) {
		if !sent[m[1]] {
			t.Errorf("docs/reference/errors.md lists %s, which nothing sends", m[1])
		}
	}
	for code := range sent {
		if !strings.Contains(string(page), "| "+code+" | ") {
			t.Errorf("docs/reference/errors.md does not list %s", code)
		}
	}
}

// sqlstates gives the values of the constants Code… of the root package.
func sqlstates(t *testing.T) map[string]string {
	t.Helper()
	values := map[string]string{}
	for _, s := range sources(t) {
		if s.name != "error.go" {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 && strings.HasPrefix(v.Names[0].Name, "Code") {
				if lit, ok := v.Values[0].(*ast.BasicLit); ok {
					values[v.Names[0].Name], _ = strconv.Unquote(lit.Value)
				}
			}
			return true
		})
	}
	if len(values) < 10 {
		t.Fatalf("found only %d SQLSTATEs in error.go", len(values))
	}
	return values
}

func isError(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "Error"
	case *ast.SelectorExpr:
		return x.Sel.Name == "Error" && isPackage(x.X, "claimpool")
	}
	return false
}

// errorFields gives the name of the code and the text, with "…" for what changes; no text when it is made elsewhere.
func errorFields(lit *ast.CompositeLit) (code, message string) {
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		switch key, _ := kv.Key.(*ast.Ident); key.Name {
		case "Code":
			switch v := kv.Value.(type) {
			case *ast.SelectorExpr:
				code = v.Sel.Name
			case *ast.Ident:
				code = v.Name
			}
		case "Message":
			message = textOf(kv.Value)
		}
	}
	if !strings.HasPrefix(code, "Code") {
		return "", ""
	}
	return code, message
}

var verb = regexp.MustCompile(`%[a-z]`)

// textOf reads a literal, a sum of literals and other things, or the format of a Sprintf.
func textOf(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.BasicLit:
		if x.Kind == token.STRING {
			return constant.StringVal(constant.MakeFromLiteral(x.Value, x.Kind, 0))
		}
	case *ast.BinaryExpr:
		left, right := textOf(x.X), textOf(x.Y)
		if left == "" {
			left = "…"
		}
		if right == "" {
			right = "…"
		}
		return left + right
	case *ast.CallExpr:
		if f, ok := x.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Sprintf" && len(x.Args) > 0 {
			return verb.ReplaceAllStringFunc(textOf(x.Args[0]), func(v string) string {
				if v == "%q" {
					return `"…"`
				}
				return "…"
			})
		}
	}
	return ""
}
