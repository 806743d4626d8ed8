package admin

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/claimpool/claimpool"
)

// The limits of GET /metrics.
const (
	maxPools   = 500             // that are shown apart: clients can make pools, by the roles that they may have
	maxScrapes = 4               // at the same time
	maxMeasure = 5 * time.Second // that a scrape waits for the event loops
)

// Build says what runs.
type Build struct{ Version, Revision, Go string }

// newMetrics makes the registry of all metrics.
func newMetrics(meter Meter, build Build, log *slog.Logger) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(&scrape{meter, build, log}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// MetricsHandler is GET /metrics, in the text format of Prometheus, for those who bring one of the tokens. What is read is not recorded;
// what is refused is. audit may be nil.
func MetricsHandler(tokens []claimpool.Secret, meter Meter, build Build, audit claimpool.Auditor, log *slog.Logger) http.Handler {
	h := promhttp.HandlerFor(newMetrics(meter, build, log), promhttp.HandlerOpts{
		ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: maxScrapes, DisableCompression: true,
	})
	return guarded(tokens, audit, log, h)
}

// scrape is a prometheus.Collector that asks for everything at once.
type scrape struct {
	meter Meter
	build Build
	log   *slog.Logger
}

// Describe is part of prometheus.Collector.
func (s *scrape) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
}

// Collect is part of prometheus.Collector.
func (s *scrape) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), maxMeasure)
	defer cancel()
	all, err := s.meter.Measure(ctx)
	if err != nil {
		s.log.Error("the metrics cannot be read", claimpool.LogErr, err.Error())
		ch <- prometheus.NewInvalidMetric(buildInfo.desc, errors.New("not at the moment"))
		return
	}
	e := emitter(ch)
	e.add(buildInfo, 1, s.build.Version, s.build.Revision, s.build.Go)
	e.add(ready, truth(all.Ready))
	for _, p := range shownApart(all.Pools) {
		e.pool(&p)
	}
	e.logins(all)
	e.keys(all)
	if r := all.Revocations; r != nil {
		e.add(revocations, float64(r.Entries))
		e.age(revocationsAge, r.Age)
	}
	if a := all.Audit; a != nil {
		e.add(auditEvents, float64(a.Written), "written")
		e.add(auditEvents, float64(a.Lost), "lost")
		e.add(auditQueue, float64(a.Waiting))
		e.add(auditQueueMax, float64(a.Queue))
		e.add(auditFailing, truth(a.Failing))
	}
}

// shownApart bounds what many roles can do to whoever keeps the metrics: of more than maxPools pools the last are one, without names.
// Databases that the configuration does not name are one, or else clients could fill it with names one after the other. Names that are not
// UTF-8, which labels must be, are made so; pools whose names are the same then are one, too.
func shownApart(list []PoolMeasures) []PoolMeasures {
	type name struct{ database, target, role string }
	shown := map[name]*PoolMeasures{}
	others := PoolMeasures{}
	any := false
	for _, p := range list {
		if p.Unlisted {
			p.Database = "*"
		}
		for _, label := range []*string{&p.Database, &p.Target, &p.Role} {
			*label = strings.ToValidUTF8(*label, "\ufffd")
		}
		key := name{p.Database, p.Target, p.Role}
		switch same := shown[key]; {
		case same != nil:
			same.plus(&p)
		case len(shown) < maxPools:
			shown[key] = &p
		default:
			others.plus(&p)
			any = true
		}
	}
	apart := make([]PoolMeasures, 0, len(shown)+1)
	for _, p := range shown {
		apart = append(apart, *p)
	}
	slices.SortFunc(apart, func(a, b PoolMeasures) int {
		return cmp.Or(strings.Compare(a.Database, b.Database), strings.Compare(a.Target, b.Target), strings.Compare(a.Role, b.Role))
	})
	if any {
		apart = append(apart, others)
	}
	return apart
}

// emitter sends metrics to whoever collects them.
type emitter chan<- prometheus.Metric

func (e emitter) add(m *metric, value float64, labels ...string) {
	kind := prometheus.GaugeValue
	if m.kind == "counter" {
		kind = prometheus.CounterValue
	}
	e <- prometheus.MustNewConstMetric(m.desc, kind, value, labels...)
}

// by sends one metric for each key, the last label.
func (e emitter) by(m *metric, counts map[string]uint64, labels ...string) {
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		e.add(m, float64(counts[key]), append(slices.Clone(labels), key)...)
	}
}

func (e emitter) durations(m *metric, d *claimpool.Durations, labels ...string) {
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range claimpool.DurationBounds {
		sum += d.Counts[i]
		buckets[bound.Seconds()] = sum
	}
	sum += d.Counts[len(d.Counts)-1]
	e <- prometheus.MustNewConstHistogram(m.desc, sum, d.Sum.Seconds(), buckets, labels...)
}

// age leaves out what is not known yet.
func (e emitter) age(m *metric, d time.Duration, labels ...string) {
	if d >= 0 {
		e.add(m, d.Seconds(), labels...)
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// labels are those of a pool, and more.
func (p *PoolMeasures) labels(more ...string) []string {
	return append([]string{p.Database, p.Target, p.Role}, more...)
}

func (e emitter) pool(p *PoolMeasures) {
	add := func(m *metric, value float64, more ...string) { e.add(m, value, p.labels(more...)...) }
	if p.Mode != "" {
		add(poolInfo, 1, p.Mode)
	}
	add(poolServers, float64(p.Active), "active")
	add(poolServers, float64(p.Idle), "idle")
	add(poolServers, float64(p.Opening), "opening")
	add(poolPinned, float64(p.Pinned))
	add(poolUnsure, float64(p.Unsure))
	add(poolClients, float64(p.Working), "active")
	add(poolClients, float64(p.Waiting), "waiting")
	add(poolClients, float64(max(0, p.Clients-p.Working-p.Waiting)), "idle")
	add(poolLongestWait, p.LongestWait.Seconds())
	add(poolOldestPin, p.OldestPin.Seconds())
	add(poolMaxServers, float64(p.Size))
	add(poolMaxReserve, float64(p.Reserve))
	add(poolMaxPinned, float64(p.PinSize))
	add(poolMaxWaiting, float64(p.QueueLength))
	add(poolMaxWait, p.QueueWait.Seconds())
	e.by(handovers, p.Handovers, p.labels()...)
	add(transactions, float64(p.Transactions))
	e.durations(transactionTime, &p.Held, p.labels()...)
	e.durations(queueWait, &p.Waits, p.labels()...)
	add(queueRefusals, float64(p.QueueFull), "full")
	add(queueRefusals, float64(p.TimedOut), "timeout")
	add(serversOpened, float64(p.Opened))
	add(serversFailed, float64(p.OpenFailed))
	e.by(serversClosed, p.Closed, p.labels()...)
	add(pins, float64(p.Pins))
	add(pinTimeouts, float64(p.PinsTimedOut))
	add(relayedBytes, float64(p.ToServers), "to_server")
	add(relayedBytes, float64(p.ToClients), "to_client")
}

// noMethod is the label of logins that ended before a rule was chosen.
const noMethod = "none"

func (e emitter) logins(all *Measures) {
	e.add(clients, float64(all.Clients))
	e.add(replication, float64(all.Streams))
	e.add(dropped, float64(all.Dropped))
	for i := range all.Logins {
		l := &all.Logins[i]
		method := cmp.Or(l.Method, noMethod)
		if method != noMethod {
			e.add(logins, float64(l.Accepted), method, "accepted", "00")
			e.durations(loginTime, &l.Took, method)
		}
		e.add(logins, float64(l.Left), method, "left", "")
		e.by(logins, l.Refused, method, "refused")
	}
	e.by(refusedRequests, all.Refused)
	e.by(endedConnections, all.CutOff)
}

func (e emitter) keys(all *Measures) {
	for _, is := range all.Issuers {
		e.add(keyFetches, float64(is.Fetches-is.Failures), is.Name, "ok")
		e.add(keyFetches, float64(is.Failures), is.Name, "failed")
		e.add(keys, float64(is.Keys), is.Name)
		e.age(keyAge, is.Age, is.Name)
	}
	e.add(signatureRequests, float64(all.Signatures.Hits), "hit")
	e.add(signatureRequests, float64(all.Signatures.Misses), "miss")
	e.add(signatures, float64(all.Signatures.Known))
}
