package claimpool

import "errors"

// Code is a SQLSTATE (PostgreSQL, Appendix A).
type Code string

// The SQLSTATEs that the proxy itself sends.
const (
	CodeSuccess                Code = "00000" // successful_completion, of a notice
	CodeWarning                Code = "01000"
	CodeConnectionException    Code = "08000"
	CodeConnectionRejected     Code = "08004" // sqlserver_rejected_establishment_of_sqlconnection
	CodeConnectionFailure      Code = "08006"
	CodeProtocolViolation      Code = "08P01"
	CodeFeatureNotSupported    Code = "0A000"
	CodeInvalidAuthorization   Code = "28000"
	CodeInvalidPassword        Code = "28P01"
	CodeInvalidCatalogName     Code = "3D000"
	CodeTooManyConnections     Code = "53300"
	CodeProgramLimitExceeded   Code = "54000"
	CodeQueryCanceled          Code = "57014"
	CodeAdminShutdown          Code = "57P01"
	CodeCannotConnectNow       Code = "57P03"
	CodeIdleSessionTimeout     Code = "57P05"
	CodeActiveTransaction      Code = "25001"
	CodeInFailedTransaction    Code = "25P02"
	CodeIdleInTransaction      Code = "25P03"
	CodeTransactionTimeout     Code = "25P04"
	CodeInvalidParameterValue  Code = "22023"
	CodeUndefinedObject        Code = "42704"
	CodeDuplicateStatement     Code = "42P05" // duplicate_prepared_statement
	CodeUndefinedStatement     Code = "26000" // invalid_sql_statement_name
	CodeUndefinedPortal        Code = "34000" // invalid_cursor_name
	CodeInsufficientPrivileges Code = "42501"
	CodeSyntaxError            Code = "42601"
	CodeInternalError          Code = "XX000"
)

// Error is what a client may know of a failure: exactly these fields travel. Cause is for the log only.
type Error struct {
	Code    Code
	Message string // lower case, no period
	Detail  string // a sentence
	Hint    string // a sentence
	Cause   error  // the real reason; never sent to a client
}

// Error gives the text for the operator: the message and the cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// AsError finds the *Error in err; anything else becomes XX000 "internal error" with err as its cause.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternalError, Message: "internal error", Cause: err}
}

// AuthenticationFailed is the one answer to every failed proof: PostgreSQL's own text, with the reason kept for the log.
func AuthenticationFailed(user string, cause error) *Error {
	return &Error{Code: CodeInvalidPassword, Message: `password authentication failed for user "` + user + `"`, Cause: cause}
}
