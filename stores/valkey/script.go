package valkey

import (
	"context"
	"crypto/sha1"
	"encoding/hex"

	client "github.com/valkey-io/valkey-go"
)

// A script runs on the server, atomically, on keys of one slot.
type script struct{ text, sum string }

// inFullServer begins a script that runs also when the server has no memory left
// (maxmemory with noeviction). Only what changes or removes a record does: a token must be
// deactivated, narrowed and deleted in time. How much it can add is bounded, as records are.
const inFullServer = "#!lua flags=allow-oom"

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) // by which servers know scripts
	return script{text, hex.EncodeToString(sum[:])}
}

// A call is one of a script.
type call struct {
	script     *script
	keys, args []string
}

// run makes calls, which may be of different slots, at the same time. The
// servers do not repeat one that failed.
func (s *Store) run(ctx context.Context, calls ...call) []client.ValkeyResult {
	if len(calls) == 0 {
		return nil
	}
	commands := make([]client.Completed, len(calls))
	for i, c := range calls {
		commands[i] = s.client.B().Evalsha().Sha1(c.script.sum).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build()
	}
	results := s.client.DoMulti(ctx, commands...)
	for i, c := range calls {
		if e, ok := client.IsValkeyErr(results[i].Error()); ok && e.IsNoScript() {
			results[i] = s.client.Do(ctx,
				s.client.B().Eval().Script(c.script.text).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build())
		}
	}
	return results
}
