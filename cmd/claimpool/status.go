package main

import (
	"errors"
	"fmt"
)

// The exit statuses, as the help says them.
const (
	statusOK      = 0
	statusFailure = 1 // it was tried, and failed
	statusUsage   = 2 // the command line or the configuration is wrong; nothing was tried
	statusNo      = 3 // it worked, and the answer is no
)

// statusError is an error with its own exit status.
type statusError struct {
	error
	status int
}

func (e statusError) Unwrap() error { return e.error }

// usage is an error in what the person asked for.
func usage(format string, args ...any) error {
	return statusError{fmt.Errorf(format, args...), statusUsage}
}

// errNo is the answer no, which has been printed.
var errNo = statusError{errors.New(""), statusNo}

func statusOf(err error) int {
	var e statusError
	if errors.As(err, &e) {
		return e.status
	}
	return statusFailure
}
