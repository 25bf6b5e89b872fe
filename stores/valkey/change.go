package valkey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	client "github.com/valkey-io/valkey-go"

	"github.com/apitoken-go/apitoken"
)

// Both take the key of a record. replaceScript compares the head of the record
// that is there with the one expected, and returns what it found.
var (
	createScript = newScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2])
return 1`)
	replaceScript = newScript(inFullServer + `
local head = redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
if head == '' then return 'gone' end
if head ~= ARGV[1] then return 'changed' end
redis.call('SET', KEYS[1], ARGV[2])
return 'replaced'`)
	touchScript = newScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then return 1 end
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return 1`)
)

// Create implements [apitoken.Store].
func (s *Store) Create(ctx context.Context, rec apitoken.Record) error {
	if err := ctx.Err(); err != nil {
		return wrap(err)
	}
	if err := check(&rec); err != nil {
		return err
	}
	fresh := stored{rec: rec, stamp: newStamp(), birth: newStamp()}
	value, err := fresh.encode()
	if err != nil {
		return wrap(err)
	}
	a, err := s.begin(ctx, &beginScript, rec.ID, fresh.entries(), nil)
	if err != nil {
		return wrap(err)
	}
	created := true
	if len(rec.Uses) > 0 {
		created, err = s.run(ctx, call{&createScript, []string{recordKey(rec.ID), usesKey(rec.ID)}, []string{value, fresh.encodeUses()}})[0].AsBool()
	} else {
		// One key alone can be written also while its slot is being moved.
		err = s.client.Do(ctx, s.client.B().Set().Key(recordKey(rec.ID)).Value(value).Nx().Build()).Error()
		if client.IsValkeyNil(err) {
			created, err = false, nil
		}
	}
	switch {
	case err != nil:
		return wrap(err)
	case !created:
		a.undo(ctx)
		return apitoken.ErrExists
	}
	a.done(ctx)
	return nil
}

// Replace implements [apitoken.Store]. A server without free memory refuses a new name, and
// nothing else.
func (s *Store) Replace(ctx context.Context, rec apitoken.Record) error {
	if err := check(&rec); err != nil {
		return err
	}
	found, err := s.read(ctx, rec.ID)
	switch old := found[0]; {
	case err != nil:
		return err
	case !old.exists():
		return apitoken.ErrNotFound
	case old.rec.Version != rec.Version-1:
		return apitoken.ErrConflict
	default:
		return s.replace(ctx, old, rec)
	}
}

func (s *Store) replace(ctx context.Context, old stored, rec apitoken.Record) error {
	// Most changes leave all indexes as they are. These depend on no other node
	// than that of the record.
	fresh := stored{rec: rec, stamp: old.stamp, birth: old.birth}
	a := &attempt{store: s}
	if !slices.Equal(fresh.entries(), old.entries()) {
		fresh.stamp = newStamp()
		script := &beginAlwaysScript
		if rec.Name != old.rec.Name {
			script = &beginScript
		}
		var err error
		if a, err = s.begin(ctx, script, rec.ID, fresh.entries(), old.entries()); err != nil {
			return wrap(err)
		}
	}
	value, err := fresh.encode()
	if err != nil {
		return wrap(err)
	}
	outcome, err := s.run(ctx, call{&replaceScript, []string{recordKey(rec.ID)}, []string{old.head(), value}})[0].ToString()
	switch {
	case err != nil:
		return wrap(err)
	case outcome == "replaced":
		a.done(ctx)
		return nil
	case outcome == "gone":
		err = apitoken.ErrNotFound
	default:
		err = apitoken.ErrConflict
	}
	a.undo(ctx)
	return err
}

// Delete implements [apitoken.Store].
func (s *Store) Delete(ctx context.Context, id string) error {
	found, err := s.read(ctx, id)
	if err != nil {
		return err
	}
	if !found[0].exists() {
		return apitoken.ErrNotFound
	}
	// A token can be deleted also where its entries cannot: they do no harm.
	brief, cancel := context.WithTimeout(ctx, briefly)
	defer cancel()
	a, _ := s.begin(brief, &beginAlwaysScript, id, nil, found[0].entries())
	results := s.client.DoMulti(ctx,
		s.client.B().Getdel().Key(recordKey(id)).Build(),
		s.client.B().Del().Key(usesKey(id)).Build())
	value, err := results[0].ToString()
	if client.IsValkeyNil(err) {
		a.done(ctx)
		return apitoken.ErrNotFound
	}
	if err != nil {
		return wrap(err)
	}
	// Someone may have replaced it meanwhile.
	if last, err := decode(id, value); err == nil && last.stamp != found[0].stamp {
		a.obsolete = byBase(slices.Concat(last.entries(), found[0].entries()))
	}
	a.done(ctx)
	return nil
}

// Touch implements [apitoken.Toucher].
func (s *Store) Touch(ctx context.Context, uses []apitoken.Use) error {
	if err := ctx.Err(); err != nil {
		return wrap(err)
	}
	byToken := make(map[string][]apitoken.Use)
	for _, u := range uses {
		byToken[u.ID] = append(byToken[u.ID], u)
	}
	// Repeat for keys that someone else changed in between.
	for range 100 {
		var err error
		if byToken, err = s.touch(ctx, byToken); err != nil || len(byToken) == 0 {
			return wrap(err)
		}
	}
	return fmt.Errorf("valkey: the uses of %d tokens keep changing", len(byToken))
}

// touch stores uses, and returns those for which someone was faster.
func (s *Store) touch(ctx context.Context, byToken map[string][]apitoken.Use) (left map[string][]apitoken.Use, err error) {
	ids := slices.Collect(maps.Keys(byToken))
	left = make(map[string][]apitoken.Use)
	for some := range slices.Chunk(ids, chunk) {
		found, err := s.read(ctx, some...)
		if err != nil {
			return nil, err
		}
		var calls []call
		var touched []string
		for i, id := range some {
			if !found[i].exists() {
				continue
			}
			changed := false
			for _, u := range byToken[id] {
				changed = found[i].rec.AddUse(u) || changed
			}
			if changed {
				touched = append(touched, id)
				calls = append(calls, call{&touchScript, []string{recordKey(id), usesKey(id)}, []string{found[i].uses, found[i].encodeUses()}})
			}
		}
		if len(calls) == 0 {
			continue
		}
		var errs []error
		for i, result := range s.run(ctx, calls...) {
			stored, err := result.AsBool()
			if errs = append(errs, err); err == nil && !stored {
				left[touched[i]] = byToken[touched[i]]
			}
		}
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
	}
	return left, nil
}
