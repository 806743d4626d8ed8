//go:build !race && linux && !loop_poll

package loop

func beforeWrite() {}

func afterRead() {}
