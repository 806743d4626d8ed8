//go:build linux

// Package proc reads what a process has cost so far: processor time and memory, from /proc.
//
// It does not know whose process it is.
package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of utime and stime in /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// CPU is a reading of a process's processor time.
type CPU struct {
	threads map[string]time.Duration // exact, but a thread that has ended is not counted
	ticks   time.Duration            // of the whole process, in steps of a tick
}

// ReadCPU reads the processor time of a process. A pid of 0 gives an empty reading.
func ReadCPU(pid int) (CPU, error) {
	c := CPU{threads: map[string]time.Duration{}}
	if pid == 0 {
		return c, nil
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return c, err
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has just ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
		if err != nil {
			return c, fmt.Errorf("read %s: %w", name, err)
		}
		c.threads[filepath.Base(filepath.Dir(name))] = time.Duration(ns)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return c, err
	}
	// The command's name stands in brackets and may hold anything: count the fields behind it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return c, fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(fields))
	}
	c.ticks, err = ticks(fields[11:13]) // utime and stime
	return c, err
}

func ticks(fields []string) (sum time.Duration, err error) {
	for _, f := range fields {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read ticks in /proc: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// ReadTree reads the processor time of a process and of its children, those that have ended included.
func ReadTree(pid int) (CPU, error) {
	sum, err := ReadCPU(pid)
	if err != nil || pid == 0 {
		return sum, err
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return sum, err
	}
	for _, name := range files {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has just ended
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		switch {
		case len(fields) < 15:
		case id == pid:
			ended, err := ticks(fields[13:15]) // cutime and cstime
			if err != nil {
				return sum, err
			}
			sum.ticks += ended
		case fields[1] == strconv.Itoa(pid):
			child, err := ReadCPU(id)
			if err != nil {
				continue
			}
			for thread, spent := range child.threads {
				sum.threads[thread] = spent
			}
			sum.ticks += child.ticks
		}
	}
	return sum, nil
}

// Since returns the processor time spent between an earlier reading and this one: to the nanosecond when the same
// threads are still there, to the tick when one has ended.
func (c CPU) Since(earlier CPU) time.Duration {
	var sum time.Duration
	for id, before := range earlier.threads {
		if _, ok := c.threads[id]; !ok {
			return c.ticks - earlier.ticks
		}
		sum -= before
	}
	for _, after := range c.threads {
		sum += after
	}
	return sum
}

// Memory is the memory of a process that is resident now, in bytes.
type Memory struct {
	RSS  int64 `json:"rss"`  // all of it
	Anon int64 `json:"anon"` // without the files that are mapped
}

// ReadMemory reads the memory of a process.
func ReadMemory(pid int) (Memory, error) {
	var m Memory
	if pid == 0 {
		return m, nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return m, fmt.Errorf("read /proc/%d/status: %w", pid, err)
		}
		switch f[0] {
		case "VmRSS:":
			m.RSS = n << 10
		case "RssAnon:":
			m.Anon = n << 10
		}
	}
	return m, nil
}
