package apitoken

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"time"
)

// Errors of [Manager.Rotate], [Manager.EndOverlap], [Manager.UndoRotation] and [Manager.Reveal].
var (
	// ErrRotating: the old secret of an earlier rotation is still valid.
	// EndOverlap and UndoRotation end that.
	ErrRotating = errors.New("apitoken: the token is being rotated already")

	// ErrAlreadyRotated: a rotation with this idempotency key has been made,
	// and its secret cannot be shown again.
	ErrAlreadyRotated = errors.New("apitoken: the token was rotated with this idempotency key before")

	// ErrNotRotating: there is no old secret to keep.
	ErrNotRotating = errors.New("apitoken: the token is not being rotated")

	// ErrNotRevealable: the secret was not stored. An error that wraps it says why a stored
	// one cannot be shown: its key is no longer in Config.EncryptionKeys, or somebody
	// changed what is stored. Rotate the token then.
	ErrNotRevealable = errors.New("apitoken: the secret cannot be shown")
)

// Rotate gives an active token of the actor a new secret and returns it. ID, name and
// permissions stay. The old secret is valid until the overlap is over, but not longer
// than the token; 0 ends it at once. During the overlap Rotate returns ErrRotating.
//
// The idempotency key has up to 255 bytes; "" is none. It is for callers who do not know
// whether their first attempt succeeded. With the key of an earlier rotation, Rotate
// changes nothing. It returns the secret of that rotation if Config.EncryptionKeys are
// set, and otherwise ErrAlreadyRotated.
func (m *Manager) Rotate(ctx context.Context, id string, overlap time.Duration, idempotencyKey string) (*TokenInfo, Secret, error) {
	if overlap < 0 {
		return nil, Secret{}, &FieldError{"overlap", "is negative"}
	}
	if err := cmp.Or(checkIdempotencyKey(idempotencyKey), m.authorize()); err != nil {
		return nil, Secret{}, err
	}
	var key []byte
	if idempotencyKey != "" {
		key = digestBytes(idempotencyKey)
	}
	_, secret := m.a.decider.grammar.Mint()
	repeated := false
	info, err := m.revocation().make(ctx, &change{action: actionRotate, id: id, edit: func(m *Manager, rec *Record, before *row, now time.Time) ([]string, error) {
		switch {
		case !m.owns(before):
			return nil, &ForbiddenError{Rule: "only its owner may rotate a token"}
		case m.a.decider.policy.Status(rec, m.judged()) != StatusActive:
			return nil, &ForbiddenError{Rule: "only an active token can be rotated"}
		}
		if err := cmp.Or(m.mayGrant(before.known), m.mayGrantOnly(rec.limitsOf())); err != nil {
			return nil, err
		}
		if i := rec.rotatedWith(key); i == 0 {
			repeated = true
			return nil, nil
		} else if i > 0 {
			return nil, ErrAlreadyRotated
		}
		if rec.rotating(m.judged()) {
			return nil, ErrRotating
		}
		old := rec.Secrets[0]
		s := SecretRecord{Digest: digestBytes(secret), CreatedAt: now}
		err := m.a.rows.encrypt(rec, &s, secret)
		if err != nil {
			return nil, err
		}
		if !s.CreatedAt.After(old.CreatedAt) { // the clock was set back
			s.CreatedAt = old.CreatedAt.Add(time.Microsecond)
		}
		s.IdempotencyKey = key
		old.ValidUntil = micro(now.Add(overlap))
		if overlap == 0 {
			old.ValidUntil = ended
		}
		if !rec.ExpiresAt.IsZero() && old.ValidUntil.After(rec.ExpiresAt) {
			old.ValidUntil = rec.ExpiresAt
		}
		if len(rec.Secrets) > 1 {
			rec.retire(rec.Secrets[1])
		}
		rec.Secrets = []SecretRecord{s, old}
		return []string{"secret"}, nil
	}})
	switch {
	case err != nil:
		return nil, Secret{}, err
	case repeated:
		return m.revealAgain(ctx, info, ErrAlreadyRotated)
	}
	return info, NewSecret(m.a.decider.grammar.Text(id, secret)), nil
}

func checkIdempotencyKey(key string) error {
	if len(key) > 255 {
		return &FieldError{"idempotency_key", "is longer than 255 bytes"}
	}
	return nil
}

// judged returns now by the clock of requests, by which a token or a secret that they
// refuse is not valid here either. What is written is by the wall clock alone: a clock that was
// ahead when the process began gives nothing a longer life on other nodes.
func (m *Manager) judged() time.Time { return moment(m.a.clock.micros(m.a.clock.now())) }

// ended is until when a secret is valid that somebody has ended: until before any
// time that a clock may show, as it must not live on where one is behind.
var ended = time.Unix(0, 0).UTC()

// rotatedWith returns the index of the secret that was made by a rotation with
// this idempotency key, -1 if there is none.
func (r *Record) rotatedWith(key []byte) int {
	return slices.IndexFunc(r.Secrets, func(s SecretRecord) bool {
		return len(key) == sha256.Size && subtle.ConstantTimeCompare(s.IdempotencyKey, key) == 1
	})
}

// rotating reports whether two secrets are valid.
func (r *Record) rotating(now time.Time) bool {
	return len(r.Secrets) == 2 && now.Before(r.Secrets[1].ValidUntil)
}

// EndOverlap ends the overlap of a rotation of the actor's own token: from now on the
// old secret is refused. If the overlap is over already, it changes nothing. Without a
// rotation it returns ErrNotRotating.
func (m *Manager) EndOverlap(ctx context.Context, id string) (*TokenInfo, error) {
	return m.revocation().endOverlap(ctx, id, false)
}

// UndoRotation ends the overlap of a rotation of the actor's own token by refusing the
// new secret. The old one stays valid as long as the token. It is for people who never
// saw the new secret. If this is so already, it changes nothing. Without a rotation it
// returns ErrNotRotating.
func (m *Manager) UndoRotation(ctx context.Context, id string) (*TokenInfo, error) {
	return m.endOverlap(ctx, id, true)
}

func (m *Manager) endOverlap(ctx context.Context, id string, keepOld bool) (*TokenInfo, error) {
	return m.make(ctx, &change{action: actionEndOverlap, id: id, edit: func(m *Manager, rec *Record, before *row, now time.Time) ([]string, error) {
		if !m.owns(before) {
			return nil, &ForbiddenError{Rule: "only its owner may end the rotation of a token"}
		}
		if len(rec.Secrets) < 2 {
			return nil, ErrNotRotating
		}
		first, second := &rec.Secrets[0], &rec.Secrets[1]
		rotating := rec.rotating(m.judged())
		keptOld := first.CreatedAt.Before(second.CreatedAt) // by an earlier call
		switch {
		case !rotating && keptOld == keepOld:
			return nil, nil
		case !rotating:
			return nil, ErrNotRotating
		}
		if keepOld {
			if err := cmp.Or(m.mayGrant(before.known), m.mayGrantOnly(rec.limitsOf())); err != nil {
				return nil, err
			}
			*first, *second = *second, *first
			first.ValidUntil = time.Time{}
		}
		second.ValidUntil = ended
		second.EncryptionKeyID, second.Ciphertext = "", nil
		return []string{"secret"}, nil
	}})
}

// Reveal returns the newest secret of the actor's own token again. It returns
// ErrNotRevealable if Config.EncryptionKeys were not set when the token was made, or if
// the secret can no longer be decrypted. Config.Audit and Config.Observe are called as
// for a change.
func (m *Manager) Reveal(ctx context.Context, id string) (Secret, error) {
	e, err := m.visible(ctx, id)
	if err == nil {
		err = m.mayReveal(e)
	}
	var text string
	if err == nil {
		text, err = m.a.rows.decrypt(&e.rec, &e.rec.Secrets[0])
	}
	ev := m.event(actionReveal, id, e, e)
	if err == nil {
		err = m.audit(ctx, ev)
	}
	m.observe(ctx, ev, err)
	if err != nil {
		return Secret{}, err
	}
	if !e.rec.Secrets[0].Foreign {
		text = m.a.decider.grammar.Text(id, text)
	}
	return NewSecret(text), nil
}

// mayReveal checks that the actor may see the secret. One who came by API token would
// come away with one that lasts longer than theirs, or can do more.
func (m *Manager) mayReveal(e *row) error {
	if !m.owns(e) {
		return &ForbiddenError{Rule: "only its owner may see the secret of a token"}
	}
	if !m.actor.Token.IsZero() {
		return &ForbiddenError{Rule: "a secret is not shown to an actor who came by API token"}
	}
	return nil
}
