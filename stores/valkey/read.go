package valkey

import (
	"context"
	"slices"
	"strings"

	client "github.com/valkey-io/valkey-go"

	"github.com/apitoken-go/apitoken"
)

// Get implements [apitoken.Store]. It may return some seconds after the end of its context
// if a connection has to be opened and the server does not answer: the client lets one
// caller open it, and the others wait. So the store has no method Cancelable.
func (s *Store) Get(ctx context.Context, id string) (apitoken.Record, error) {
	found, err := s.read(ctx, id)
	switch {
	case err != nil:
		return apitoken.Record{}, err
	case !found[0].exists():
		return apitoken.Record{}, apitoken.ErrNotFound
	}
	return found[0].rec, nil
}

// chunk is the number of records that one call reads.
const chunk = 250

// read reads records, each in the place of its ID; a missing record is
// zero. It returns at least one.
//
// A record is read by a command that could write, as a replica refuses those,
// also one that was a primary when we connected. A primary refuses them too
// while it has no disk or no replicas to write to; then a GET has to do.
//
// Two concurrent commands read a record and its uses: one command
// for both would fail while their slot is being moved to another node.
func (s *Store) read(ctx context.Context, ids ...string) ([]stored, error) {
	found := make([]stored, max(len(ids), 1))
	if err := ctx.Err(); err != nil {
		return found, wrap(err)
	}
	for from := 0; from < len(ids); from += chunk {
		some := ids[from:min(from+chunk, len(ids))]
		results := s.ask(ctx, some, func(key string) client.Completed {
			return s.client.B().Getex().Key(key).Build().ToRetryable()
		})
		if cannotWrite(results) {
			results = s.ask(ctx, some, func(key string) client.Completed { return s.client.B().Get().Key(key).Build() })
		}
		for i, id := range some {
			value, err := results[2*i].ToString()
			if client.IsValkeyNil(err) {
				continue
			}
			if err != nil {
				return found, wrap(err)
			}
			one, err := decode(id, value)
			if err != nil {
				return found, err
			}
			uses, err := results[2*i+1].ToString()
			if err != nil && !client.IsValkeyNil(err) {
				return found, wrap(err)
			}
			one.decodeUses(uses)
			found[from+i] = one
		}
	}
	return found, nil
}

// ask asks for the values of records, by the command get, and of their uses.
func (s *Store) ask(ctx context.Context, ids []string, get func(key string) client.Completed) []client.ValkeyResult {
	commands := make([]client.Completed, 0, 2*len(ids))
	for _, id := range ids {
		commands = append(commands, get(recordKey(id)), s.client.B().Get().Key(usesKey(id)).Build())
	}
	return s.client.DoMulti(ctx, commands...)
}

// cannotWrite reports whether a primary said that it cannot write.
func cannotWrite(results []client.ValkeyResult) bool {
	return slices.ContainsFunc(results, func(r client.ValkeyResult) bool {
		e, ok := client.IsValkeyErr(r.Error())
		return ok && (strings.HasPrefix(e.Error(), "MISCONF ") || strings.HasPrefix(e.Error(), "NOREPLICAS "))
	})
}

// Scan implements [apitoken.Scanner].
func (s *Store) Scan(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
	var recs []apitoken.Record
	for {
		ids, more, err := s.ids(ctx, after, limit)
		if err != nil {
			return nil, wrap(err)
		}
		found, err := s.read(ctx, ids...)
		if err != nil {
			return nil, err
		}
		for i := range found {
			if found[i].exists() {
				recs = append(recs, found[i].rec)
			}
		}
		if len(recs) >= limit || !more {
			return recs[:min(limit, len(recs))], nil
		}
		after = ids[len(ids)-1]
	}
}

// ids returns at least one of the IDs after an ID, in order, and whether there
// are more. It merges what the shards have.
func (s *Store) ids(ctx context.Context, after string, limit int) (ids []string, more bool, err error) {
	from := "-"
	if after != "" {
		from = "[" + after + "\x01"
	}
	each := int64(limit/(shards/2) + 10)
	commands := make([]client.Completed, shards)
	for n := range commands {
		commands[n] = s.client.B().Zrangebylex().Key(shardBase(n)+byID).Min(from).Max("+").Limit(0, each).Build()
	}
	horizon := "" // nothing is known of what lies behind it
	for _, result := range s.client.DoMulti(ctx, commands...) {
		members, err := result.AsStrSlice()
		if err != nil {
			return nil, false, err
		}
		for i, m := range members {
			if _, id, _, ok := parts(byID, m); ok {
				ids = append(ids, id)
				if i == int(each)-1 && (!more || id < horizon) {
					horizon, more = id, true
				}
			}
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if more {
		end, _ := slices.BinarySearch(ids, horizon)
		ids = ids[:end+1]
	}
	return ids, more, nil
}

// keysScript counts the members of an index by what comes before their first
// zero byte.
var keysScript = newScript(`
local counts, from = {}, '-'
while true do
	local first = redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, 1)[1]
	if not first then return counts end
	local key = string.sub(first, 1, string.find(first, '\0', 1, true) - 1)
	counts[#counts + 1] = key
	counts[#counts + 1] = redis.call('ZLEXCOUNT', KEYS[1], '[' .. key .. '\0', '(' .. key .. '\1')
	from = '[' .. key .. '\1'
end`)

// KeysInUse implements [apitoken.Scanner]. For ten minutes after an interrupted change it
// may count one too many, but never one too few.
func (s *Store) KeysInUse(ctx context.Context) (macs, secrets map[string]int, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, wrap(err)
	}
	macs, secrets = make(map[string]int), make(map[string]int)
	var calls []call
	for n := range shards {
		s.tidy(ctx, shardBase(n))
		calls = append(calls, call{&keysScript, []string{shardBase(n) + byKey}, nil})
	}
	for _, result := range s.run(ctx, calls...) {
		counts, err := result.ToArray()
		if err != nil {
			return nil, nil, wrap(err)
		}
		for pair := range slices.Chunk(counts, 2) {
			name, err := pair[0].ToString()
			if err != nil {
				return nil, nil, wrap(err)
			}
			n, err := pair[1].AsInt64()
			if err != nil {
				return nil, nil, wrap(err)
			}
			kind, key, _ := strings.Cut(name, " ")
			if kind == "record" {
				macs[key] += int(n)
			} else {
				secrets[key] += int(n)
			}
		}
	}
	return macs, secrets, nil
}
