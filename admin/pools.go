package admin

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/claimpool/claimpool"
)

// Pools tells what the proxy's pools do.
type Pools interface {
	Pools(ctx context.Context) ([]Pool, error)
}

// Pool is what one pool does at a moment: numbers, and no word about any person. Times are in milliseconds; 0 is none.
type Pool struct {
	Database string      `json:"database"`
	Target   string      `json:"target,omitempty"` // of databases.NAME.targets
	Role     string      `json:"role"`
	Mode     string      `json:"mode"`
	Servers  PoolServers `json:"servers"`
	Clients  PoolClients `json:"clients"`
	Limits   PoolLimits  `json:"limits"`
}

// PoolServers are a pool's server connections. Pinned and unsure ones are among the active.
type PoolServers struct {
	Active       int            `json:"active"` // leased: to a session, or for a transaction
	Idle         int            `json:"idle"`
	Opening      int            `json:"opening"`
	Pinned       int            `json:"pinned"`    // they stay with a client because of what it has left on them
	PinnedBy     map[string]int `json:"pinned_by"` // by feature; one with several counts for each
	OldestPin    int64          `json:"oldest_pin_ms"`
	Unsure       int            `json:"unsure"` // they stay because nobody can tell what is still to be answered
	Pins         uint64         `json:"pins_total"`
	PinsTimedOut uint64         `json:"pins_timed_out_total"` // ended by pool.pin_timeout
}

// PoolClients are a pool's clients.
type PoolClients struct {
	Connected   int   `json:"connected"`
	Active      int   `json:"active"` // in a transaction
	Waiting     int   `json:"waiting"`
	LongestWait int64 `json:"longest_wait_ms"`
}

// PoolLimits are the settings of a pool that bound it.
type PoolLimits struct {
	Size        int   `json:"size"`
	Reserve     int   `json:"reserve_size"`
	PinSize     int   `json:"pin_size"`
	PinTimeout  int64 `json:"pin_timeout_ms"`
	QueueLength int   `json:"queue_length"`
	QueueWait   int64 `json:"queue_wait_ms"`
}

// showPools answers GET /pools.
func showPools(pools Pools, log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		list, err := pools.Pools(r.Context())
		if err != nil {
			log.Error("the pools cannot be looked at", claimpool.LogAddr, r.RemoteAddr, claimpool.LogErr, err.Error())
			fail(w, http.StatusServiceUnavailable, "the pools cannot be looked at at the moment")
			return
		}
		if list == nil {
			list = []Pool{}
		}
		answer(w, http.StatusOK, list)
	}
}
