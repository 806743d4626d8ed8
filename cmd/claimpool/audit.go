package main

import (
	"fmt"

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
	opts := audit.Options{Queue: cfg.Queue, Refuse: cfg.WhenFull == "refuse", Report: func(err error, lost uint64) {
		count := fmt.Sprintf("%d events are lost so far", lost)
		if err != nil {
			s.log.Error("the audit stream cannot be written", claimpool.LogErr, err.Error(), claimpool.LogReason, count)
			return
		}
		s.log.Warn("the audit stream can be written again", claimpool.LogReason, count)
	}}
	switch cfg.To {
	case "stdout":
		s.audit.stream = audit.New(s.env.out, opts)
	case "file":
		file, err := audit.OpenFile(cfg.File, int64(cfg.MaxSizeMiB)<<20, cfg.Keep)
		if err != nil {
			return fmt.Errorf("audit.file: %w", err)
		}
		s.audit.file, s.audit.stream = file, audit.New(file, opts)
	}
	return nil
}

// close writes what is left.
func (a *auditing) close() {
	if a.stream != nil {
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
		if e.Kind == claimpool.MarkToken {
			event.Token = e.Mark
		}
		a.stream.Record(event)
	}
}
