package admin

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// Health is what an orchestrator or a load balancer asks.
type Health struct {
	Alive func(ctx context.Context) bool // the proxy works: if not, a restart may help
	Ready func() bool                    // it takes clients in: all listeners are open, and it does not drain

	mu    sync.Mutex
	asked time.Time // guarded by mu
	alive bool      // guarded by mu
}

// Whoever asks costs the event loops one round in healthKept, however often he does.
const (
	healthKept = time.Second
	maxHealth  = time.Second // how long an event loop may take to answer
)

// HealthHandler is GET /healthz and GET /readyz, for everybody: the answers are 200 or 503, and say nothing else.
func HealthHandler(h *Health) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { tellHealth(w, h.isAlive(r.Context())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { tellHealth(w, h.Ready()) })
	return mux
}

// isAlive asks once for all who come within healthKept.
func (h *Health) isAlive(ctx context.Context) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.asked.IsZero() && time.Since(h.asked) < healthKept {
		return h.alive
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxHealth) // the answer is for others, too
	defer cancel()
	h.alive = h.Alive(ctx)
	h.asked = time.Now()
	return h.alive
}

func tellHealth(w http.ResponseWriter, ok bool) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	text := "ok\n"
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = "not ok\n"
	}
	io.WriteString(w, text)
}

// Monitored puts what programs look at beside the endpoint for administrators. Whatever else is asked for, in whatever spelling, is theirs.
func Monitored(administrators, metrics, health http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := administrators
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			switch r.URL.Path {
			case "/metrics":
				h = metrics
			case "/healthz", "/readyz":
				h = health
			}
		}
		h.ServeHTTP(w, r)
	})
}
