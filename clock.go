package apitoken

import "time"

// A clock tells the time by which tokens are judged.
type clock struct {
	now     func() time.Time
	started time.Time // by now
}

// micros returns a reading of the clock in microseconds since 1970: by the wall
// clock, but no less than has passed by the monotonic one since New, so that a
// wall clock that is set back brings no expired token back to life.
func (c *clock) micros(now time.Time) int64 {
	return max(now.UnixNano(), c.started.UnixNano()+int64(now.Sub(c.started))) / 1000
}
