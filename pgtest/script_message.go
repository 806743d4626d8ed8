package pgtest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// The messages of wire scripts are written and read by pgx's pgproto3, so that package wire is not checked with itself.

// appendMessage builds a client's message from its line in a script.
func appendMessage(dst []byte, line string) ([]byte, error) {
	name, rest, _ := strings.Cut(line, " ")
	if name == "Raw" {
		raw, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
		return append(dst, raw...), err
	}
	args, err := splitArgs(rest)
	if err != nil {
		return dst, err
	}
	msg, err := clientMessage(name, args)
	if err != nil {
		return dst, err
	}
	return msg.Encode(dst)
}

// arg is one argument of a message: a quoted string, a bare word, or NULL.
type arg struct {
	text string
	null bool
}

func (a arg) bytes() []byte {
	if a.null {
		return nil
	}
	return []byte(a.text)
}

func splitArgs(s string) ([]arg, error) {
	var args []arg
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		if s[0] != '"' {
			word, rest, _ := strings.Cut(s, " ")
			args, s = append(args, arg{word, word == "NULL"}), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return nil, fmt.Errorf("quoted string: %w", err)
		}
		text, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("quoted string: %w", err)
		}
		args, s = append(args, arg{text: text}), s[len(quoted):]
	}
	return args, nil
}

// clientMessage makes a message of its name and arguments. An argument that is missing is empty.
func clientMessage(name string, args []arg) (pgproto3.FrontendMessage, error) {
	at := func(i int) string {
		if i < len(args) {
			return args[i].text
		}
		return ""
	}
	number := func(i int) uint32 {
		n, _ := strconv.ParseUint(at(i), 10, 32) // 0 where there is none
		return uint32(n)
	}
	values := func(from int) (list [][]byte) {
		for i := from; i < len(args); i++ {
			list = append(list, args[i].bytes())
		}
		return list
	}
	switch name {
	case "Query":
		return &pgproto3.Query{String: at(0)}, nil
	case "Parse": // name, SQL, types
		m := &pgproto3.Parse{Name: at(0), Query: at(1)}
		for i := 2; i < len(args); i++ {
			m.ParameterOIDs = append(m.ParameterOIDs, number(i))
		}
		return m, nil
	case "Bind": // portal, statement, values
		return &pgproto3.Bind{DestinationPortal: at(0), PreparedStatement: at(1), Parameters: values(2)}, nil
	case "BinaryBind": // the same, asking for results in binary
		return &pgproto3.Bind{DestinationPortal: at(0), PreparedStatement: at(1), Parameters: values(2), ResultFormatCodes: []int16{1}}, nil
	case "Describe", "Close": // S or P, name
		if at(0) != "S" && at(0) != "P" {
			return nil, errors.New("want S or P")
		}
		if name == "Close" {
			return &pgproto3.Close{ObjectType: at(0)[0], Name: at(1)}, nil
		}
		return &pgproto3.Describe{ObjectType: at(0)[0], Name: at(1)}, nil
	case "Execute": // portal, rows
		return &pgproto3.Execute{Portal: at(0), MaxRows: number(1)}, nil
	case "FunctionCall": // OID, values
		return &pgproto3.FunctionCall{Function: number(0), Arguments: values(1)}, nil
	case "Sync":
		return &pgproto3.Sync{}, nil
	case "Flush":
		return &pgproto3.Flush{}, nil
	case "CopyData":
		return &pgproto3.CopyData{Data: []byte(at(0))}, nil
	case "CopyDone":
		return &pgproto3.CopyDone{}, nil
	case "CopyFail":
		return &pgproto3.CopyFail{Message: at(0)}, nil
	case "Terminate":
		return &pgproto3.Terminate{}, nil
	}
	return nil, fmt.Errorf("no client message %q", name)
}

// describe is a server's message as a line of a script. What differs from run to run or from version to version (the texts of
// errors, process ids) is left out.
func describe(msg pgproto3.BackendMessage) string {
	switch m := msg.(type) {
	case *pgproto3.RowDescription:
		line := "RowDescription"
		for _, f := range m.Fields {
			line += fmt.Sprintf(" %s/%d", f.Name, f.DataTypeOID)
		}
		return line
	case *pgproto3.ParameterDescription:
		return strings.TrimRight("ParameterDescription "+strings.Trim(fmt.Sprint(m.ParameterOIDs), "[]"), " ")
	case *pgproto3.DataRow:
		return "DataRow" + quoteAll(m.Values)
	case *pgproto3.CommandComplete:
		return fmt.Sprintf("CommandComplete %q", m.CommandTag)
	case *pgproto3.ErrorResponse:
		return fmt.Sprintf("ErrorResponse %s %s", m.SeverityUnlocalized, m.Code)
	case *pgproto3.NoticeResponse:
		return fmt.Sprintf("NoticeResponse %s %s %q", m.SeverityUnlocalized, m.Code, m.Message)
	case *pgproto3.ReadyForQuery:
		return fmt.Sprintf("ReadyForQuery %c", m.TxStatus)
	case *pgproto3.ParameterStatus:
		return fmt.Sprintf("ParameterStatus %s %q", m.Name, m.Value)
	case *pgproto3.NotificationResponse:
		return fmt.Sprintf("NotificationResponse %s %q", m.Channel, m.Payload)
	case *pgproto3.FunctionCallResponse:
		return "FunctionCallResponse" + quoteAll([][]byte{m.Result})
	case *pgproto3.CopyInResponse:
		return fmt.Sprintf("CopyInResponse %d/%d", m.OverallFormat, len(m.ColumnFormatCodes))
	case *pgproto3.CopyOutResponse:
		return fmt.Sprintf("CopyOutResponse %d/%d", m.OverallFormat, len(m.ColumnFormatCodes))
	case *pgproto3.CopyData:
		return fmt.Sprintf("CopyData %q", m.Data)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", msg), "*pgproto3.")
}

func quoteAll(values [][]byte) string {
	var b strings.Builder
	for _, v := range values {
		if v == nil {
			b.WriteString(" NULL")
		} else {
			fmt.Fprintf(&b, " %q", v)
		}
	}
	return b.String()
}
