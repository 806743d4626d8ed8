package pgtest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

// What must be free before clusters are kept in memory: one takes 60 to 300 MB, and go test runs packages with ten of them.
const (
	minMemoryFolder = 4 << 30 // bytes, in the folder
	minMemory       = 8 << 20 // KiB, in the machine
)

// memoryFolder is where clusters are kept in memory, for CREATE DATABASE makes three hundred files and takes a fifth of the
// time there. It is empty, which means the system's temporary folder, where there is too little memory, and where TMPDIR
// says what to use.
var memoryFolder = sync.OnceValue(func() string {
	const dir = "/dev/shm"
	var fs syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(dir, &fs) != nil || uint64(fs.Bavail)*uint64(fs.Bsize) < minMemoryFolder {
		return ""
	}
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return ""
	}
	free := 0
	for line := range strings.Lines(string(info)) {
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &free); n == 1 {
			break
		}
	}
	if free < minMemory {
		return ""
	}
	return dir
})
