package limit

import "time"

// Len returns how many keys are known.
func (l *Limiter) Len() (n int) {
	for i := range l.shards {
		l.shards[i].mu.Lock()
		n += len(l.shards[i].buckets)
		l.shards[i].mu.Unlock()
	}
	return n
}

// Fields returns the values of the header fields.
func (s *Standings) Fields() (policy, left string) { return s.fields() }

// Now returns the time of the Limiter.
func (l *Limiter) Now() time.Duration { return l.now() }

// Admits is Admit for tests that do not look at the Standings.
func (l *Limiter) Admits(now time.Duration, demands *Demands) bool {
	_, admitted := l.Admit(now, demands)
	return admitted
}
