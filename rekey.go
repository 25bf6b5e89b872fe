package apitoken

import (
	"context"
	"errors"
	"fmt"
)

// RekeyParams says how to re-key; see [Authority.Rekey].
type RekeyParams struct {
	// AdoptWithoutMAC also authenticates rows that have no MAC, which trusts whoever
	// wrote them: for the one time when Config.IntegrityKeys are introduced.
	AdoptWithoutMAC bool

	// Adopt is asked about each record that is damaged, which whoever wrote it may have
	// forged, and is shown the token as it would be: true authenticates it. nil leaves
	// all of them alone.
	Adopt func(*TokenInfo) bool

	// After is the ID to continue after, "" to begin.
	After string

	// Progress is told after each batch of at most 256 tokens.
	Progress func(RekeyProgress)
}

// RekeyProgress says how far Rekey has come.
type RekeyProgress struct {
	Seen    int    // tokens looked at
	Rekeyed int    // of them, those that needed it
	Refused int    // left alone: the MAC is broken or missing, a key is, or it changes all the time
	Last    string // ID of the last token looked at, for RekeyParams.After
}

// Rekey brings all rows and kept secrets under the newest keys of Config.IntegrityKeys
// and Config.EncryptionKeys, so that older ones can be removed. Whatever is under the
// newest already is left alone: a run that broke off is continued by another.
// It needs a Store that is a [Scanner]. The error says if tokens were refused.
// docs/operating.md has the steps of a change of keys.
func (a *Authority) Rekey(ctx context.Context, how RekeyParams) (RekeyProgress, error) {
	p := RekeyProgress{Last: how.After}
	err := a.rekey(ctx, how, &p)
	if err == nil && p.Refused > 0 {
		err = fmt.Errorf("apitoken: %d tokens could not be rekeyed", p.Refused)
	}
	if a.ready() {
		_ = a.observe(ctx, &Event{Time: a.now(), Action: actionRekey, Err: err})
	}
	return p, err
}

const rekeyBatch = 256

// maxTries bounds how often a record is rekeyed again because a change came between:
// one that changes all the time does not stop all others.
const maxTries = 16

func (a *Authority) rekey(ctx context.Context, how RekeyParams, p *RekeyProgress) error {
	if !a.ready() {
		return unavailable(errors.New("apitoken: the Authority was not made by New"))
	}
	scanner, ok := a.store.(Scanner)
	if !ok {
		return errors.New("apitoken: the store is no Scanner, so that it cannot be rekeyed")
	}
	for {
		batch, err := storeCall(ctx, a, func(ctx context.Context) ([]Record, error) {
			return scanner.Scan(ctx, p.Last, rekeyBatch)
		})
		if err != nil {
			return unavailable(err)
		}
		for _, rec := range batch {
			if rec.ID <= p.Last && p.Seen > 0 {
				return unavailable(errors.New("apitoken: the store scans in circles"))
			}
			if err := a.rekeyOne(ctx, rec, &how, p); err != nil {
				return err
			}
			p.Seen++
			p.Last = rec.ID
		}
		if how.Progress != nil {
			how.Progress(*p)
		}
		if len(batch) < rekeyBatch {
			return nil
		}
	}
}

func (a *Authority) rekeyOne(ctx context.Context, rec Record, how *RekeyParams, p *RekeyProgress) error {
	for try := 0; ; try++ {
		ev := Event{Action: actionRekey, TokenID: rec.ID, Environment: rec.Environment, Owner: rec.Owner}
		next, err := a.rekeyed(rec, how.AdoptWithoutMAC)
		if err != nil {
			next = a.adopted(rec, how)
		}
		if err == nil && try == maxTries {
			next, err = nil, ErrConflict
		}
		if err != nil && next == nil {
			p.Refused++
			ev.Time, ev.Err = a.now(), err
			_ = a.observe(ctx, &ev)
			return nil
		}
		adopted := err != nil
		if next == nil {
			return nil
		}
		err = a.storeWrite(ctx, a.lanes.others.store, rec.ID, func(ctx context.Context) error { return a.store.Replace(ctx, next.rec) })
		switch {
		case err == nil:
			p.Rekeyed++
			if adopted {
				ev.Time, ev.After = a.now(), a.info(next)
				_ = a.observe(ctx, &ev)
			}
			return nil
		case errors.Is(err, ErrNotFound):
			return nil // deleted meanwhile
		case !errors.Is(err, ErrConflict):
			return unavailable(err)
		}
		backOff(ctx, narrowing, try)
		rec, err = storeCall(ctx, a, func(ctx context.Context) (Record, error) { return a.store.Get(ctx, rec.ID) })
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
func (a *Authority) adopted(rec Record, how *RekeyParams) *row {
	if how.Adopt == nil || len(a.config.IntegrityKeys) == 0 {
		return nil
	}
	rec = rec.clone()
	rec.Version++
	next, err := a.withMAC(rec)
	if err != nil || !how.Adopt(a.info(next)) {
		return nil
	}
	return next
}

// rekeyed returns the next version of a record under the newest keys, nil if it
// is there already.
func (a *Authority) rekeyed(rec Record, adopt bool) (*row, error) {
	if !adopt || rec.MACKeyID != "" {
		if err := a.vet(rec.ID, &rec); err != nil {
			return nil, err
		}
	}
	next := rec.clone()
	stale := len(a.config.IntegrityKeys) > 0 && rec.MACKeyID != a.config.IntegrityKeys[0].id
	for i := range next.Secrets {
		s := &next.Secrets[i]
		if s.EncryptionKeyID == "" || len(a.config.EncryptionKeys) == 0 || s.EncryptionKeyID == a.config.EncryptionKeys[0].id {
			continue
		}
		text, err := a.decryptSecret(&rec, s)
		if err != nil {
			return nil, err
		}
		if err := a.encryptSecret(&next, s, text); err != nil {
			return nil, err
		}
		stale = true
	}
	if !stale {
		return nil, nil
	}
	next.Version++
	return a.withMAC(next)
}
