package apitoken

import (
	"context"
	"errors"
	"fmt"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/turns"
)

// RekeyParams are the parameters of [Authority.Rekey].
type RekeyParams struct {
	// AdoptWithoutMAC also authenticates rows without a MAC. It trusts the people who wrote
	// them: use it once, when you introduce Config.IntegrityKeys.
	AdoptWithoutMAC bool

	// Adopt is called with each damaged record, which someone may have forged, as the token
	// would be. true authenticates it. nil leaves all of them alone.
	Adopt func(*TokenInfo) bool

	// After is the ID to continue after, "" to begin.
	After string

	// Progress is called after each batch of at most 256 tokens.
	Progress func(RekeyProgress)
}

// RekeyProgress is the progress of [Authority.Rekey].
type RekeyProgress struct {
	Seen    int    // tokens looked at
	Rekeyed int    // of these, tokens that were rewritten
	Refused int    // left alone: the MAC is broken or missing, a key is missing, or the token changes all the time
	Last    string // ID of the last token looked at, for RekeyParams.After
}

// Rekey protects all records and stored secrets with the newest keys of
// Config.IntegrityKeys and Config.EncryptionKeys, so that older keys can be removed. It
// skips what the newest keys protect already, so that a second run continues an
// interrupted one. It needs a Store that is a [Scanner]. It returns an error if it had
// to leave tokens alone. docs/operating.md has the steps of a change of keys.
func (a *Authority) Rekey(ctx context.Context, how RekeyParams) (RekeyProgress, error) {
	if !a.ready() {
		return RekeyProgress{Last: how.After}, unavailable(errors.New("apitoken: the Authority was not made by New"))
	}
	tell := func(ev Event) {
		ev.Time, ev.Action = a.clock.now(), actionRekey
		_ = a.application.observe(ctx, &ev)
	}
	r := rekeyer{&a.rows, how, a.As(Actor{}).info, tell, RekeyProgress{Last: how.After}}
	err := r.run(ctx)
	if err == nil && r.done.Refused > 0 {
		err = fmt.Errorf("apitoken: %d tokens could not be rekeyed", r.done.Refused)
	}
	tell(Event{Err: err})
	return r.done, err
}

const rekeyBatch = 256

// maxTries bounds how often a record is rekeyed again because a change came between:
// one that changes all the time does not stop all others.
const maxTries = 16

// A rekeyer is one run of Rekey.
type rekeyer struct {
	rows *rows
	how  RekeyParams
	info func(*row) *TokenInfo
	tell func(Event)
	done RekeyProgress
}

func (r *rekeyer) run(ctx context.Context) error {
	scanner, ok := r.rows.store.(Scanner)
	if !ok {
		return errors.New("apitoken: the store is no Scanner, so that it cannot be rekeyed")
	}
	for {
		batch, err := bulkhead.Call(ctx, r.rows.calls, "", func(ctx context.Context) ([]Record, error) {
			return scanner.Scan(ctx, r.done.Last, rekeyBatch)
		})
		if err != nil {
			return unavailable(err)
		}
		for _, rec := range batch {
			if rec.ID <= r.done.Last && r.done.Seen > 0 {
				return unavailable(errors.New("apitoken: the store scans in circles"))
			}
			if err := r.rekey(ctx, rec); err != nil {
				return err
			}
			r.done.Seen++
			r.done.Last = rec.ID
		}
		if r.how.Progress != nil {
			r.how.Progress(r.done)
		}
		if len(batch) < rekeyBatch {
			return nil
		}
	}
}

// rekey brings one record under the newest keys, also if others change it meanwhile.
func (r *rekeyer) rekey(ctx context.Context, rec Record) error {
	for try := 0; ; try++ {
		ev := Event{TokenID: rec.ID, Environment: rec.Environment, Owner: rec.Owner}
		next, err := r.next(rec)
		if err != nil && !errors.Is(err, ErrNotRevealable) { // which no MAC repairs
			next = r.adopted(rec)
		}
		if try == maxTries {
			next, err = nil, ErrConflict
		}
		if err != nil && next == nil {
			r.done.Refused++
			ev.Err = err
			r.tell(ev)
			return nil
		}
		adopted := err != nil
		if next == nil {
			return nil
		}
		err = r.rows.write(ctx, r.rows.calls, "", func(ctx context.Context) error { return r.rows.store.Replace(ctx, next.rec) }, rec.ID)
		switch {
		case err == nil:
			r.done.Rekeyed++
			if adopted {
				ev.After = r.info(next)
				r.tell(ev)
			}
			return nil
		case errors.Is(err, ErrNotFound):
			return nil // deleted meanwhile
		case !errors.Is(err, ErrConflict):
			return unavailable(err)
		}
		turns.BackOff(ctx, turns.Narrowing, try)
		rec, err = bulkhead.Call(ctx, r.rows.calls, "", func(ctx context.Context) (Record, error) { return r.rows.store.Get(ctx, rec.ID) })
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return unavailable(err)
		}
	}
}

// adopted returns the next version of a damaged record, if it is a record otherwise
// and the operator takes it; else nil.
func (r *rekeyer) adopted(rec Record) *row {
	if r.how.Adopt == nil || r.rows.integrity.Newest() == "" {
		return nil
	}
	rec = rec.clone()
	rec.Version++
	next, err := r.rows.signed(rec)
	if err != nil || !r.how.Adopt(r.info(next)) {
		return nil
	}
	return next
}

// next returns the next version of a record under the newest keys, nil if it is there
// already.
func (r *rekeyer) next(rec Record) (*row, error) {
	if !r.how.AdoptWithoutMAC || rec.MACKeyID != "" {
		if err := r.rows.validate(rec.ID, &rec); err != nil {
			return nil, err
		}
	}
	next := rec.clone()
	newest := r.rows.integrity.Newest()
	stale := newest != "" && rec.MACKeyID != newest
	newest = r.rows.encryption.Newest()
	for i := range next.Secrets {
		s := &next.Secrets[i]
		if s.EncryptionKeyID == "" || newest == "" || s.EncryptionKeyID == newest {
			continue
		}
		text, err := r.rows.decrypt(&rec, s)
		if err != nil {
			return nil, err
		}
		if err := r.rows.encrypt(&next, s, text); err != nil {
			return nil, err
		}
		stale = true
	}
	if !stale {
		return nil, nil
	}
	next.Version++
	return r.rows.signed(next)
}
