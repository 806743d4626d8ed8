package audit

import (
	"fmt"
	"os"
	"sync"
)

// File is a file that is begun anew when it is large, and opened again when somebody else has moved it away (logrotate).
// The old ones are FILE.1, the youngest, and so on.
type File struct {
	path string
	max  int64 // bytes; 0: it grows
	keep int   // old files

	mu   sync.Mutex
	file *os.File // nil when it could not be opened again; guarded by mu
	size int64    // guarded by mu
}

// OpenFile opens or makes a file that nobody else may read.
func OpenFile(path string, maxSize int64, keep int) (*File, error) {
	f := &File{path: path, max: maxSize, keep: keep}
	return f, f.open()
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	f.file, f.size = file, info.Size()
	return nil
}

// Write adds whole lines, in one file. What could be written by half is taken back.
func (f *File) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	if f.max > 0 && f.size > 0 && f.size+int64(len(b)) > f.max {
		if err := f.rotate(); err != nil {
			return 0, fmt.Errorf("rotate: %w", err)
		}
	}
	n, err := f.file.Write(b)
	if f.size += int64(n); err != nil && n > 0 {
		if f.file.Truncate(f.size-int64(n)) == nil { // it will be written again, or counted as lost
			f.size -= int64(n)
		}
	}
	return n, err
}

// rotate gives the file away and begins another.
func (f *File) rotate() error {
	f.file.Close()
	f.file = nil
	for i := f.keep; i > 0; i-- {
		from := f.path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", f.path, i-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", f.path, i)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	if f.keep == 0 {
		if err := os.Remove(f.path); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return f.open()
}

// Reopen opens the file by its name again.
func (f *File) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.file
	if err := f.open(); err != nil {
		return err // the old one stays
	}
	if before != nil {
		before.Close()
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}
