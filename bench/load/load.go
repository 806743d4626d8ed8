//go:build linux

// Package load makes clients: many connections that log in and then send the same workload again and again, each as
// soon as the last reply is in, from one epoll loop.
//
// It does not know whether a proxy or PostgreSQL itself answers.
package load

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/claimpool/claimpool/bench/proc"
)

// Options say what to do and when to stop.
type Options struct {
	Addr     string        // host:port, or the path of a unix socket
	Workload string        // one of Workloads, or "storm", "idle" or "paced"
	Clients  int           // connections at the same time
	Active   int           // how many of them have a transaction at the same time; 0 is all
	TLS      bool          // the connections use TLS
	User     string        // who logs in
	Database string        // where to
	Password string        // what to answer when asked, unless there are tokens
	Rate     float64       // paced: logins per second; elsewhere: transactions per second, 0 is as many as possible
	X25519   bool          // TLS without ML-KEM, as libpq does it with OpenSSL before 3.5
	Bad      []string      // paced only: tokens that must be refused
	Tokens   []string      // client i answers with token i, over again when there are fewer
	Warmup   time.Duration // not measured
	Time     time.Duration // measured for so long ...
	Count    int           // ... or so many transactions, whichever is reached first; 0 is no bound
	PID      int           // the process whose cost counts; 0 is none
	Server   int           // PostgreSQL's first process, whose cost and whose children's counts too; 0 is none
}

// Result is what was measured.
type Result struct {
	Clients      int         `json:"clients"` // that there were: fewer than asked for when descriptors were short
	Transactions int         `json:"transactions"`
	Seconds      float64     `json:"seconds"`
	TPS          float64     `json:"tps"`
	P50          float64     `json:"p50_us"`
	P99          float64     `json:"p99_us"`
	CPU          float64     `json:"cpu_us"`      // the process's processor time per transaction, in microseconds
	Busy         float64     `json:"busy"`        // the share of the time that the process was running
	Server       float64     `json:"server_us"`   // PostgreSQL's processor time per transaction, in microseconds
	LoadCPU      float64     `json:"load_cpu_us"` // the load generator's own, to see that it is not the bottleneck
	Memory       proc.Memory `json:"memory"`      // of the process, at the end
	P999         float64     `json:"p999_us"`
	Max          float64     `json:"max_us"`
	Refused      int         `json:"refused"`    // paced only: logins with bad tokens
	PerClient    float64     `json:"per_client"` // idle only: resident bytes of the process per client
	Base         proc.Memory `json:"base"`       // idle only: with the first tenth of the clients
}

// Run runs one workload.
func Run(o *Options) (*Result, error) {
	r, err := run(o)
	if err != nil {
		return nil, err
	}
	r.Clients = o.Clients
	return r, nil
}

func run(o *Options) (*Result, error) {
	if o.Clients < 1 {
		return nil, fmt.Errorf("%d clients are too few", o.Clients)
	}
	switch o.Workload {
	case "storm":
		return storm(o)
	case "idle":
		return idle(o)
	case "paced":
		return paced(o)
	}
	w, err := find(o.Workload)
	if err != nil {
		return nil, err
	}
	clients, err := connectAll(o, o.Clients)
	if err != nil {
		return nil, err
	}
	l, err := newLoop(o, w, clients)
	if err != nil {
		return nil, err
	}
	defer l.close()
	runtime.GC() // what the logins left behind is not to be swept while measuring
	return l.run()
}

// meter reads the costs at both ends of the measured time.
type meter struct {
	pid, top           int
	began              time.Time
	proxy, own, server proc.CPU
}

func startMeter(o *Options) (*meter, error) {
	m := &meter{pid: o.PID, top: o.Server}
	return m, m.restart()
}

func (m *meter) restart() (err error) {
	if m.proxy, err = proc.ReadCPU(m.pid); err != nil {
		return err
	}
	if m.server, err = proc.ReadTree(m.top); err != nil {
		return err
	}
	m.own, err = proc.ReadCPU(os.Getpid())
	m.began = time.Now()
	return err
}

func (m *meter) result(transactions int, h *histogram) (*Result, error) {
	took := time.Since(m.began)
	proxy, err := proc.ReadCPU(m.pid)
	if err != nil {
		return nil, err
	}
	own, err := proc.ReadCPU(os.Getpid())
	if err != nil {
		return nil, err
	}
	server, err := proc.ReadTree(m.top)
	if err != nil {
		return nil, err
	}
	memory, err := proc.ReadMemory(m.pid)
	if err != nil {
		return nil, err
	}
	if transactions == 0 {
		return nil, fmt.Errorf("no transaction was completed in %v", took)
	}
	per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(transactions) }
	spent := proxy.Since(m.proxy)
	return &Result{
		Transactions: transactions, Seconds: took.Seconds(), TPS: float64(transactions) / took.Seconds(),
		P50: h.quantile(0.50), P99: h.quantile(0.99), P999: h.quantile(0.999), Max: h.quantile(1),
		CPU: per(spent), Busy: spent.Seconds() / took.Seconds(), Server: per(server.Since(m.server)),
		LoadCPU: per(own.Since(m.own)), Memory: memory,
	}, nil
}
