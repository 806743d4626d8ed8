package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// variables reads claims for an expression. Integers stay integers: a number that 64 bits cannot hold is an error, never
// rounded, because it may be somebody's id.
func variables(claims []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(claims))
	d.UseNumber()
	var all map[string]any
	if err := d.Decode(&all); err != nil || all == nil {
		return nil, errors.New("the claims are no JSON object")
	}
	for name, value := range all {
		var err error
		if all[name], err = exact(value); err != nil {
			return nil, err
		}
	}
	return map[string]any{"claims": all}, nil
}

// exact replaces the numbers in a value by integers or doubles.
func exact(value any) (any, error) {
	var err error
	switch v := value.(type) {
	case json.Number:
		return number(string(v))
	case []any:
		for i := range v {
			if v[i], err = exact(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range v {
			if v[name], err = exact(v[name]); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

func number(text string) (any, error) {
	if strings.ContainsAny(text, ".eE") {
		return strconv.ParseFloat(text, 64)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n, nil
	}
	return nil, errors.New("a claim holds an integer of more than 64 bits, which expressions cannot hold")
}

// object writes what an expression gave as a JSON object, its names in order.
func object(value ref.Val) ([]byte, error) {
	native, err := native(value)
	if err != nil {
		return nil, err
	}
	if _, ok := native.(map[string]any); !ok {
		return nil, fmt.Errorf("it gives %s, not a map", value.Type().TypeName())
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(native); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// native turns a value into what encoding/json writes. What JSON has not (bytes, times, NaN) is an error.
func native(value ref.Val) (any, error) {
	switch v := value.(type) {
	case types.String:
		return string(v), nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		return uint64(v), nil
	case types.Null:
		return nil, nil
	case types.Double:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, errors.New("it gives a number that JSON has not")
		}
		return float64(v), nil
	case traits.Mapper:
		return members(v)
	}
	list, err := elements(value)
	if err != nil {
		return nil, err
	}
	out := make([]any, len(list))
	for i, e := range list {
		if out[i], err = native(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func members(m traits.Mapper) (map[string]any, error) {
	out := map[string]any{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, errors.New("it gives a map whose names are not strings")
		}
		value, err := native(m.Get(key))
		if err != nil {
			return nil, err
		}
		out[string(name)] = value
	}
	return out, nil
}

// elements gives what is in a list.
func elements(value ref.Val) ([]ref.Val, error) {
	list, ok := value.(traits.Lister)
	if !ok {
		return nil, fmt.Errorf("it gives %s, which JSON has not", value.Type().TypeName())
	}
	var out []ref.Val
	for it := list.Iterator(); it.HasNext() == types.True; {
		out = append(out, it.Next())
	}
	return out, nil
}
