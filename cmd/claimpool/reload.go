package main

import (
	"bytes"
	"errors"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/config"
)

// reloadAll is what SIGHUP and the console ask for.
func (s *service) reloadAll() error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	s.notify(daemon.SdNotifyReloading)
	defer s.notify(daemon.SdNotifyReady)
	s.reopenAudit()
	return s.reload()
}

// reload reads the configuration file again. A file that is wrong changes nothing.
func (s *service) reload() error {
	if s.path == "" {
		s.log.Warn("nothing to reload", claimpool.LogReason, "the configuration came from flags: restart with others")
		return errors.New("the configuration came from flags: restart with others")
	}
	cfg, err := loadConfig(s.path)
	if err == nil {
		err = s.apply(cfg)
	}
	if err != nil {
		s.log.Error("the configuration was not reloaded: the old one stays", claimpool.LogErr, err.Error())
		s.audit.command("reload, refused: " + err.Error())
	}
	return err
}

// apply makes a new configuration the one that counts, as far as that can be done without a restart.
func (s *service) apply(cfg *config.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken, restart := config.Diff(s.now.declared, cfg)
	b, err := s.build(cfg, s.now)
	if err != nil {
		return err
	}
	certs, err := loadCertificates(cfg)
	if err != nil {
		return err
	}
	for _, c := range s.certs {
		if next, ok := certs[c.address]; ok { // other addresses need a restart
			c.current.Store(next)
		}
	}
	setLevel(s.level, cfg.Log.Level)
	b.issuers.start(s.log)
	before := s.now
	s.now = b
	s.steering.Store(newSteering(cfg)) // before those who have lost their rights are sent away
	s.proxy.Reload(b.proxy)
	before.issuers.close(b.issuers)
	before.closeLookups(b)
	s.log.Info("configuration reloaded", claimpool.LogReason, changes(taken))
	s.audit.command("reload: " + changes(taken))
	if len(restart) > 0 {
		s.log.Warn("some changes need a restart", claimpool.LogReason, changes(restart))
	}
	return nil
}

func changes(keys []string) string {
	if len(keys) == 0 {
		return "nothing has changed"
	}
	return strings.Join(keys, ", ")
}

// refresh looks at the files that are read again when they change. reported are the errors that have been logged.
func (s *service) refresh(reported map[string]string) {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	note := func(what string, changed bool, err error) {
		switch {
		case err != nil && reported[what] != err.Error():
			reported[what] = err.Error()
			s.log.Error("a file has changed and cannot be used: the old content stays", claimpool.LogReason, what, claimpool.LogErr, err.Error())
		case err == nil && (changed || reported[what] != ""):
			delete(reported, what)
			s.log.Info("a file has changed and is in use", claimpool.LogReason, what)
			s.audit.command("a changed file is in use: " + what)
		}
	}
	for name, files := range now.issuers.files {
		changed, err := files.Refresh()
		note("issuers."+name+".keys", changed, err)
	}
	if now.issuers.openers != nil {
		changed, err := now.issuers.openers.Refresh()
		note("decryption_keys", changed, err)
	}
	if now.users != nil {
		changed, err := now.users.Refresh()
		note("users_file", changed, err)
	}
	for _, c := range s.certs {
		changed, err := c.refresh()
		note("the certificate of "+c.address, changed, err)
	}
	for name, key := range now.keys {
		if key == nil {
			continue
		}
		changed, err := s.refreshContextKey(now, name, key)
		note("databases."+name+".context.key_file", changed, err)
	}
}

// refreshContextKey takes a new context key by building the configuration anew: server connections know only the key with
// which they were opened, so they are replaced.
func (s *service) refreshContextKey(now *built, name string, key []byte) (changed bool, err error) {
	data, err := os.ReadFile(now.declared.Databases[name].Context.KeyFile)
	if err != nil || bytes.Equal(data, key) {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != now {
		return false, nil // reloaded in between; the next look decides
	}
	b, err := s.build(now.declared, now)
	if err != nil {
		return false, err
	}
	b.issuers.start(s.log)
	s.now = b
	s.proxy.Reload(b.proxy)
	now.issuers.close(b.issuers)
	now.closeLookups(b)
	return true, nil
}

// monotonicMicros is what systemd wants to know at a reload (sd_notify(3)).
func monotonicMicros() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano() / 1000
}
