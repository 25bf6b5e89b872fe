package cli

import (
	"flag"
	"fmt"

	"github.com/apitoken-go/apitoken/internal/fields"
)

func deactivateFlags(k *call, fs *flag.FlagSet) {
	fs.StringVar(&k.revoke.Owner, "owner", "", "instead of IDs: all tokens of this `OWNER`, including tokens that are generated meanwhile")
	fs.StringVar(&k.revoke.MadeWith, "made-with", "", "instead of IDs: the token `ID`, and every token made with it, directly or not")
	fs.BoolVar(&k.revoke.Preview, "preview", false, "with -owner or -made-with: list the tokens, and deactivate none")
}

// revokeAll deactivates all tokens of an owner, or what a token has made.
func (k *call) revokeAll() (err error) {
	if k.revoke.MadeWith != "" {
		if k.revoke.MadeWith, err = k.id(k.revoke.MadeWith); err != nil {
			return err
		}
	}
	found, err := k.m.RevokeAll(k.ctx, k.revoke)
	done := []string{}
	for _, in := range found {
		if done = append(done, in.ID); k.json {
			continue
		}
		if k.revoke.Preview {
			fmt.Fprintln(k.out, "would deactivate", in.ID, shown(in.Owner), shown(in.Name))
		} else {
			fmt.Fprintln(k.out, "deactivated", in.ID)
		}
	}
	if k.json {
		k.out.line(struct {
			Done []string `json:"done"`
		}{done})
	}
	if err != nil && len(done) > 0 && !k.revoke.Preview {
		// Not wrapped: the exit code should say that a part was done.
		return fmt.Errorf("%d tokens are done, as listed, and at least %d are left; run the command again: %v", len(done), len(fields.Bulk(err)), err)
	}
	return err
}
