package keyset

import (
	"context"
	"os"
	"time"
)

// Refresh reads the files again when one of them has changed. When something is wrong with the new ones, the old keys
// stay, all of them, and the error says what; the next Refresh tries again.
func (f *Files) Refresh() (changed bool, err error) {
	f.refresh.Lock()
	defer f.refresh.Unlock()
	if !stale(f.specs, f.current.Load().stamps) {
		return false, nil
	}
	now, err := f.load()
	if err != nil {
		return false, err
	}
	f.current.Store(now)
	return true, nil
}

// stale reports whether a file is not the one that was read: another inode, size or time. A file that is gone counts.
func stale(specs []Spec, stamps []os.FileInfo) bool {
	for i, was := range stamps {
		if was == nil {
			continue // no file
		}
		is, err := os.Stat(specs[i].File)
		if err != nil || !os.SameFile(was, is) || was.Size() != is.Size() || !was.ModTime().Equal(is.ModTime()) || was.Mode() != is.Mode() {
			return true
		}
	}
	return false
}

// Watch calls Refresh at every interval until ctx ends. onChange is called with nil when new keys are in place, and with
// an error when the files have become unusable: once, not at every interval.
func (f *Files) Watch(ctx context.Context, interval time.Duration, onChange func(error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	reported := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		changed, err := f.Refresh()
		switch {
		case err != nil && err.Error() != reported:
			reported = err.Error()
			onChange(err)
		case err == nil && (changed || reported != ""):
			reported = ""
			onChange(nil)
		}
	}
}
