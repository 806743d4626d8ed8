package main

import (
	"fmt"

	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/feature"
	"github.com/claimpool/claimpool/proxy"
)

// addFeatures says what becomes of that which outlives a transaction.
func addFeatures(db *proxy.Database, d config.Database) error {
	f, to := d.Pool.Features, &db.Features
	for _, choice := range []struct {
		key, value string
		to         *feature.Choice
	}{
		{"listen", f.Listen, &to.Listen}, {"advisory_locks", f.AdvisoryLocks, &to.AdvisoryLocks},
		{"temporary_tables", f.TemporaryTables, &to.TemporaryTables}, {"with_hold", f.WithHold, &to.WithHold},
		{"set", f.Set, &to.Set}, {"prepare", f.Prepare, &to.Prepare},
	} {
		var err error
		if *choice.to, err = feature.ParseChoice(choice.value); err != nil {
			return fmt.Errorf("pool.features.%s: %w", choice.key, err)
		}
	}
	db.PinTimeout = d.Pool.PinTimeout
	var err error
	if db.Channels, err = channels(d.Channels); err != nil {
		return fmt.Errorf("channels: %w", err)
	}
	if db.SendChannels, err = channels(d.SendChannels); err != nil {
		return fmt.Errorf("send_channels: %w", err)
	}
	return nil
}

// channels reads templates for the names of channels; nil when there are none.
func channels(templates []string) (list []feature.Channel, err error) {
	for _, template := range templates {
		channel, err := feature.ParseChannel(template)
		if err != nil {
			return nil, err
		}
		list = append(list, channel)
	}
	return list, nil
}

// pins is how many server connections may stay with their clients.
func pins(p config.Pool) int {
	if p.PinSize > 0 {
		return p.PinSize
	}
	return max(1, p.Size/2)
}
