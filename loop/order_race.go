//go:build race && linux && !loop_poll

package loop

import "syscall"

// To the race detector, a system call of ours orders what is before it in one goroutine and what is behind it in another, as one of
// the standard library's does: with these two, which do nothing else.

var nothing, _ = syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)

func beforeWrite() { syscall.Write(nothing, nil) }

func afterRead() { syscall.Read(nothing, nil) }
