package cli

import (
	"cmp"
	"errors"
	"flag"
	"fmt"

	"github.com/apitoken-go/apitoken"
)

func deactivateFlags(k *call, fs *flag.FlagSet) {
	fs.StringVar(&k.page.owner, "owner", "", "instead of IDs: all tokens of this `USER`, until a list shows no other")
}

// deactivateOwner deactivates all tokens of a user, also those that the user has
// deactivated and could activate again. A thief may make or change tokens meanwhile, so
// it lists the tokens again until none is left to deactivate.
func (k *call) deactivateOwner() error {
	done := []string{}
	pass := func() (progress bool, err error) {
		var left []string
		l := apitoken.ListParams{Owner: k.page.owner, Order: apitoken.ByCreated}
		_, err = k.each(l, 0, func(in *apitoken.TokenInfo) {
			theirs := in.DeactivatedBy == in.Owner && in.Owner != k.actor.User
			if in.DeactivatedAt.IsZero() || theirs {
				left = append(left, in.ID)
			}
		})
		if err != nil {
			return false, err
		}
		for _, id := range left {
			_, e := k.m.Deactivate(k.ctx, id)
			switch {
			case e == nil:
				progress = true
				if done = append(done, id); !k.json {
					fmt.Fprintln(k.out, "deactivated", id)
				}
			case errors.Is(e, apitoken.ErrNotFound): // deleted meanwhile
				progress = true
			default: // the next token must not wait for it
				err = cmp.Or(err, error(&apitoken.BulkError{ID: id, Err: e}))
			}
		}
		return progress, err
	}
	progress, err := true, error(nil)
	for progress && k.ctx.Err() == nil {
		progress, err = pass()
	}
	if k.json {
		k.out.line(struct {
			Done []string `json:"done"`
		}{done})
	}
	if err == nil {
		err = k.ctx.Err()
	}
	if err != nil && len(done) > 0 {
		return fmt.Errorf("%d tokens are done, those that are listed: %v", len(done), err)
	}
	return err
}
