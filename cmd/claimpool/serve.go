package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/proxy"
)

// service is a proxy that runs with its configuration.
type service struct {
	env   *environment
	ctx   context.Context // ends with the service
	path  string          // of the configuration file; empty when flags made it
	log   *slog.Logger
	level *slog.LevelVar
	proxy *proxy.Proxy
	certs []*certificate
	audit auditing
	wg    sync.WaitGroup

	steering    atomic.Pointer[steering]
	revocations *revocations // as it was at the start; nil without a table
	reloading   sync.Mutex   // one after the other, whoever asks

	listeners int // for clients
	health    http.Handler

	mu  sync.Mutex
	now *built // guarded by mu
}

// serve runs the proxy until it is told to end. path is the configuration file, to be read again on SIGHUP; empty when
// the configuration was made from flags.
func serve(env *environment, path string, cfg *config.Config) error {
	if os.Geteuid() == 0 {
		return usage("claimpool does not run as root, because it talks to strangers: start it as another user,\n" +
			"  for example: setpriv --reuid=nobody --regid=nogroup --clear-groups claimpool serve …")
	}
	ctx, cancel := context.WithCancel(env.ctx)
	defer cancel()
	s := &service{env: env, ctx: ctx, path: path, level: new(slog.LevelVar)}
	s.log = newLogger(env.err, cfg.Log, s.level)
	signals := make(chan os.Signal, 4) // from here on a SIGHUP is no end
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	if err := s.start(cfg); err != nil {
		return err
	}
	return s.wait(signals, cancel)
}

// newLogger makes the log; level can be changed later.
func newLogger(w io.Writer, cfg config.Log, level *slog.LevelVar) *slog.Logger {
	setLevel(level, cfg.Level)
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTokens}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(inert{w}, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// withoutTokens takes tokens out of what is logged, names that clients have chosen among it.
func withoutTokens(_ []string, a slog.Attr) slog.Attr {
	text, ok := a.Value.Any().(string)
	if err, is := a.Value.Any().(error); is {
		text, ok = err.Error(), true
	}
	if ok {
		a.Value = slog.StringValue(claimpool.WithoutTokens(text))
	}
	return a
}

// inert writes lines of JSON that nobody's terminal obeys. slog's lines of text quote what does not print by themselves.
type inert struct{ w io.Writer }

// Write is part of io.Writer.
func (i inert) Write(line []byte) (int, error) {
	_, err := i.w.Write(claimpool.Inert(line))
	return len(line), err
}

func setLevel(level *slog.LevelVar, name string) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err != nil {
		l = slog.LevelInfo // the configuration check knows the names
	}
	level.Set(l)
}

func newSeed() claimpool.Secret {
	seed := make(claimpool.Secret, 32)
	rand.Read(seed) // never fails (crypto/rand)
	return seed
}

func (s *service) start(cfg *config.Config) error {
	b, err := s.build(cfg, nil)
	if err != nil {
		return statusError{err, statusUsage}
	}
	s.now, s.revocations = b, b.revoked
	s.steering.Store(newSteering(cfg))
	for _, problem := range cfg.Check() { // errors would have been found before
		s.log.Warn("a setting deserves a second look", claimpool.LogReason, problem.String())
	}
	for _, text := range b.issuers.skipped() {
		s.log.Warn("key left out", claimpool.LogReason, text)
	}
	b.issuers.start(s.log)
	listeners, certs, err := listen(cfg)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.certs, s.listeners = certs, len(listeners)
	if err := s.openAudit(cfg.Audit); err != nil {
		return err
	}
	opts := proxy.Options{Loops: cfg.Loops, Poller: cfg.Poller, Log: s.log, Audit: s.audit.auditor(), AuditHandovers: cfg.Audit.Handovers, AuditTransactions: cfg.Audit.Transactions}
	if b.revoked != nil {
		opts.Revocations = b.revoked.set
	}
	if s.proxy, err = proxy.New(b.proxy, opts); err != nil {
		return err
	}
	if b.revoked != nil {
		b.revoked.follow(s.ctx, &s.wg, cfg.Revocation.PollInterval, s.proxy.SignOut, s.audit.learned, s.log)
	}
	if err := s.endpoints(cfg); err != nil {
		return err
	}
	for _, l := range listeners {
		s.log.Info("listening", claimpool.LogAddr, l.Addr().String())
		s.wg.Go(func() {
			if err := s.proxy.Serve(l); err != nil {
				s.log.Error("stopped listening", claimpool.LogAddr, l.Addr().String(), claimpool.LogErr, err.Error())
			}
		})
	}
	return nil
}

// wait serves until a signal or the end of the environment. SIGTERM lets transactions end, SIGINT does not, and neither
// does a second SIGTERM. SIGHUP reads the configuration again.
func (s *service) wait(signals <-chan os.Signal, cancel context.CancelFunc) error {
	ctx := s.ctx
	defer func() { s.now.issuers.close(nil); s.now.closeLookups(nil) }() // nobody reloads any more
	defer s.audit.close()
	defer s.wg.Wait()
	defer s.proxy.Close()
	defer cancel()
	s.mu.Lock() // the console may reload already
	interval := s.now.declared.WatchInterval
	s.mu.Unlock()
	s.wg.Go(func() { s.watch(ctx, interval) })
	s.notify(daemon.SdNotifyReady)
	for {
		select {
		case <-ctx.Done():
			s.notify(daemon.SdNotifyStopping)
			return nil
		case sig := <-signals:
			switch sig {
			case syscall.SIGHUP:
				s.reloadAll() // the log has what is wrong
			case syscall.SIGINT:
				s.log.Info("stopping at once", claimpool.LogReason, "SIGINT")
				s.notify(daemon.SdNotifyStopping)
				return nil
			default:
				return s.drain(signals)
			}
		}
	}
}

// drain ends in an orderly way, within limits.drain_timeout.
func (s *service) drain(signals <-chan os.Signal) error {
	s.mu.Lock()
	limit := s.now.declared.Limits.DrainTimeout
	s.mu.Unlock()
	s.log.Info("draining: transactions may end", claimpool.LogReason, "SIGTERM", claimpool.LogHeld, limit)
	s.notify(daemon.SdNotifyStopping)
	ctx, cancel := context.WithTimeout(s.env.ctx, limit)
	defer cancel()
	go func() {
		for {
			select {
			case sig := <-signals:
				if sig != syscall.SIGHUP {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := s.proxy.Shutdown(ctx); err != nil {
		s.log.Warn("clients were cut off", claimpool.LogClient, s.proxy.Clients())
	}
	return nil
}

// notify tells systemd, when it is there.
func (s *service) notify(state string) {
	if state == daemon.SdNotifyReloading {
		state += fmt.Sprintf("\nMONOTONIC_USEC=%d", monotonicMicros())
	}
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("could not notify systemd", claimpool.LogErr, err.Error())
	}
}

// watch looks for changed files, and keeps systemd's watchdog quiet.
func (s *service) watch(ctx context.Context, interval time.Duration) {
	if dog, err := daemon.SdWatchdogEnabled(false); err == nil && dog > 0 {
		interval = min(interval, dog/2)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	reported := map[string]string{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.refresh(reported)
		s.notify(daemon.SdNotifyWatchdog)
	}
}
