package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/audit"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/revocation"
)

// auditing is the audit stream with its file; both nil when there is none.
type auditing struct {
	stream *audit.Stream
	file   *audit.File
}

// openAudit opens the stream that the configuration asks for. It is the same until the service ends.
func (s *service) openAudit(cfg config.Audit) error {
	opts := audit.Options{Queue: cfg.Queue, Refuse: cfg.WhenFull == "refuse", Report: s.reportAudit}
	switch cfg.To {
	case "stdout":
		s.audit.stream = audit.New(s.env.out, opts)
	case "file":
		file, err := audit.OpenFile(cfg.File, int64(cfg.MaxSizeMiB)<<20, cfg.Keep)
		if err != nil {
			return fmt.Errorf("audit.file: %w", err)
		}
		s.audit.file, s.audit.stream = file, audit.New(file, opts)
	case "table":
		var password func(context.Context) (claimpool.Secret, error)
		if !cfg.Password.Empty() {
			password = passwordOf(cfg.Password)
		}
		connect, err := revocation.Connector("audit", cfg.DSN, password)
		if err != nil {
			return fmt.Errorf("audit.dsn: %w", err)
		}
		s.audit.stream = audit.NewTable(&audit.Table{Connect: connect}, opts)
	}
	host, _ := os.Hostname() // without a name, the process is all that is known
	s.audit.command(fmt.Sprintf("start on %s, process %d", host, os.Getpid()))
	return nil
}

// reportAudit tells the log how the stream fares.
func (s *service) reportAudit(err error, lost uint64) {
	count := fmt.Sprintf("%d events are lost so far", lost)
	var some *audit.Skipped
	switch {
	case errors.As(err, &some):
		s.log.Error("the table of audit records refuses some", claimpool.LogErr, err.Error(), claimpool.LogReason, count)
	case err != nil:
		s.log.Error("the audit stream cannot be written", claimpool.LogErr, err.Error(), claimpool.LogReason, count)
	default:
		s.log.Warn("the audit stream can be written again", claimpool.LogReason, count)
	}
}

// command records what was asked of the proxy on its own machine, which no stream can prevent.
func (a *auditing) command(what string) {
	if a.stream != nil {
		a.stream.Record(&claimpool.Event{Kind: claimpool.EventCommand, Reason: what})
	}
}

// close writes what is left.
func (a *auditing) close() {
	if a.stream != nil {
		a.command("stop")
		a.stream.Close()
	}
	if a.file != nil {
		a.file.Close()
	}
}

// reopen is for SIGHUP: somebody may have moved the file away.
func (s *service) reopenAudit() {
	if s.audit.file == nil {
		return
	}
	if err := s.audit.file.Reopen(); err != nil {
		s.log.Error("the audit file cannot be opened again: the old one stays", claimpool.LogErr, err.Error())
	}
}

// auditor is nil where there is no stream.
func (a *auditing) auditor() claimpool.Auditor {
	if a.stream == nil {
		return nil
	}
	return a.stream
}

// learned records revocations that have come to this proxy's knowledge while it runs, whoever has made them.
func (a *auditing) learned(list []revocation.Entry) {
	if a.stream == nil {
		return
	}
	for _, e := range list {
		event := &claimpool.Event{
			Kind: claimpool.EventRevocation, Issuer: e.Issuer, Subject: e.Subject, Reason: string(e.Kind) + " by " + e.By + ": " + e.Reason,
		}
		switch e.Kind {
		case claimpool.MarkToken:
			event.Token = e.Mark
		case revocation.KindUndo:
			event.Kind, event.Reason = claimpool.EventUndo, fmt.Sprintf("of revocation %d by %s: %s", e.Undoes, e.By, e.Reason)
		}
		a.stream.Record(event)
	}
}
