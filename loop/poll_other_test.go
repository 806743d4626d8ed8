//go:build unix && (!linux || loop_poll)

package loop

func init() { tellsPaused = false }
