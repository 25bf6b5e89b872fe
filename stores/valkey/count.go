package valkey

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/apitoken-go/apitoken"
)

const sumPrefix = "apitoken-limit:{"

var _ apitoken.Counter = (*Store)(nil)

// countScript adds to a sum, in microseconds by the clock of the server, and returns it.
// The value is the sum and when that was, and goes when the sum is over.
var countScript = newScript(`
	local t = redis.call('TIME')
	local now = t[1] * 1000000 + t[2]
	local sum, at = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')
	sum = math.max(0, tonumber(sum or 0) - math.max(0, now - tonumber(at or now))) + tonumber(ARGV[1])
	if sum > 0 then
		redis.call('SET', KEYS[1], string.format('%.0f %.0f', sum, now), 'PX', string.format('%.0f', math.ceil(sum / 1000)))
	end
	return string.format('%.0f', sum)`)

// Count implements [apitoken.Counter]. A failover can lose the last counts.
func (s *Store) Count(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	keys := slices.Sorted(maps.Keys(add))
	var calls []call
	for _, key := range keys {
		micros := (add[key] + time.Microsecond - 1) / time.Microsecond
		calls = append(calls, call{&countScript, []string{sumPrefix + key + "}"}, []string{strconv.FormatInt(int64(micros), 10)}})
	}
	sums := make(map[string]time.Duration, len(add))
	for i, result := range s.run(ctx, calls...) {
		text, err := result.ToString()
		if err != nil {
			return nil, err
		}
		micros, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, err
		}
		sums[keys[i]] = time.Duration(micros) * time.Microsecond
	}
	return sums, nil
}
