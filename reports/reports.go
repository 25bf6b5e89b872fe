// Package reports answers administrators' questions about many tokens or routes: who can
// make this call, which calls can this token make, and which tokens would a narrower policy
// or a smaller catalog stop? It uses the methods of [apitoken.Manager], so an actor learns
// nothing that these methods hide. It changes nothing.
//
// Reports about tokens read a list page by page, to its end, in the order of creation. They
// may miss a token that is created meanwhile. The first error ends a report; the results
// before it are incomplete.
package reports

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken"
)

// WhoCan returns the tokens that can make a call with this requirement now, from an allowed
// network: of all owners if the actor may see them, otherwise the actor's own. It explains
// every active token with one of the permissions; each takes a read of the store and a call
// of Config.OwnerPermissions.
func WhoCan(ctx context.Context, m *apitoken.Manager, requirement apitoken.Requirement) iter.Seq2[*apitoken.TokenInfo, error] {
	return func(yield func(*apitoken.TokenInfo, error) bool) {
		names, match := requirement.Permissions()
		if match == "all" {
			names = names[:1] // which every such token has
		}
		for in, err := range visible(ctx, m, apitoken.ListParams{Status: apitoken.StatusActive}, names) {
			can := false
			if err == nil {
				can, err = Can(ctx, m, in.ID, requirement)
			}
			switch {
			case err != nil:
				yield(nil, err)
				return
			case can && !yield(in, nil):
				return
			}
		}
	}
}

// Can reports whether a token can make a call with this requirement now, from an allowed
// network. It ignores rate limits. It returns false if the token does not exist.
func Can(ctx context.Context, m *apitoken.Manager, id string, requirement apitoken.Requirement) (bool, error) {
	x, err := m.Explain(ctx, id, requirement, netip.Addr{})
	switch {
	case errors.Is(err, apitoken.ErrNotFound): // deleted since it was listed
		return false, nil
	case err == nil && x.Err != nil:
		err = fmt.Errorf("reports: what the owner of token %q may do: %w: %w", id, x.Err, apitoken.ErrUnavailable)
	}
	return err == nil && len(lasting(x.Reasons)) == 0, err
}

// lasting returns what stands against requests also when its limits let the token make some again.
func lasting(reasons []apitoken.Reason) []apitoken.Reason {
	return slices.DeleteFunc(reasons, func(r apitoken.Reason) bool { return r == apitoken.ErrRateLimited })
}

// PreviewPolicy returns the tokens of the environment that are usable now, or will become
// usable, but would not be under the policy p. It needs ManageOthers.
func PreviewPolicy(ctx context.Context, m *apitoken.Manager, p apitoken.Policy) iter.Seq2[*apitoken.TokenInfo, error] {
	return func(yield func(*apitoken.TokenInfo, error) bool) {
		if p.MaxLifetime < 0 || p.MaxIdle < 0 {
			yield(nil, &apitoken.FieldError{Field: "policy", Problem: "is negative"})
			return
		}
		now := time.Now()
		for in, err := range every(ctx, m, apitoken.ListParams{AllOwners: true}) {
			if (err != nil || Stops(p, in, now)) && !yield(in, err) {
				return
			}
		}
	}
}

// Stops reports whether the policy p would make a token unusable at a moment, although it
// is usable now or will become usable.
func Stops(p apitoken.Policy, in *apitoken.TokenInfo, at time.Time) bool {
	rec := apitoken.Record{Status: apitoken.StatusActive, CreatedAt: in.CreatedAt, ExpiresAt: in.ExpiresAt, NotBefore: in.NotBefore}
	rec.Uses = []apitoken.Use{{At: in.LastUsed().At}}
	return usable(in) && p.Status(&rec, at) == apitoken.StatusExpired
}

// usable reports whether a token can be used, or will be.
func usable(in *apitoken.TokenInfo) bool {
	return in.Status == apitoken.StatusActive || in.Status == apitoken.StatusPending
}

// A Loss is the effect of dropped permissions on a token.
type Loss struct {
	Token       *apitoken.TokenInfo
	Permissions []string         // the dropped permissions that it has
	Routes      []apitoken.Route // whose requirement it meets with them, and no longer without
}

// PreviewCatalog returns the valid and pending tokens that have one of the named
// permissions: of all owners if the actor may see them. With the table of
// [apitoken.Routes], it also returns the routes that each token would lose if the routes
// stayed unchanged. It ignores the permissions of the owners.
func PreviewCatalog(ctx context.Context, m *apitoken.Manager, routes []apitoken.Route, without ...string) iter.Seq2[*Loss, error] {
	return func(yield func(*Loss, error) bool) {
		if len(without) == 0 {
			return
		}
		for in, err := range visible(ctx, m, apitoken.ListParams{}, without) {
			var loss *Loss
			if err == nil {
				loss = LossOf(in, routes, without...)
			}
			if (loss != nil || err != nil) && !yield(loss, err) {
				return
			}
		}
	}
}

// LossOf returns the effect of dropping the named permissions on a token. It returns nil if
// the token has none of them, or is not usable and will not become usable.
func LossOf(in *apitoken.TokenInfo, routes []apitoken.Route, without ...string) *Loss {
	loss := &Loss{Token: in}
	has := slices.Clone(in.Unknown)
	for _, p := range in.Permissions {
		has = append(has, p.Name())
	}
	left := slices.DeleteFunc(slices.Clone(has), func(name string) bool { return slices.Contains(without, name) })
	for _, name := range has {
		if slices.Contains(without, name) {
			loss.Permissions = append(loss.Permissions, name)
		}
	}
	if loss.Permissions == nil || !usable(in) {
		return nil
	}
	for _, rt := range routes {
		if meets(rt, has) && !meets(rt, left) {
			loss.Routes = append(loss.Routes, rt)
		}
	}
	return loss
}

// meets reports whether these permissions are enough for a route.
func meets(rt apitoken.Route, names []string) bool {
	has := func(name string) bool { return slices.Contains(names, name) }
	switch rt.Match {
	case "all":
		return !slices.ContainsFunc(rt.Permissions, func(name string) bool { return !has(name) })
	case "any":
		return slices.ContainsFunc(rt.Permissions, has)
	}
	return true
}

// visible returns the tokens of a list, of all owners if the actor may see them, else the
// actor's own, that have one of the named permissions; all without any name.
func visible(ctx context.Context, m *apitoken.Manager, l apitoken.ListParams, names []string) iter.Seq2[*apitoken.TokenInfo, error] {
	return func(yield func(*apitoken.TokenInfo, error) bool) {
		_, err := m.List(ctx, apitoken.ListParams{AllOwners: true, Limit: 1})
		l, names := l, names
		l.AllOwners = !isForbidden(err)
		if len(names) == 0 {
			names = []string{""} // any
		}
		seen := make(map[string]bool)
		for _, l.Permission = range names {
			for in, err := range every(ctx, m, l) {
				if err != nil {
					yield(nil, err)
					return
				}
				if seen[in.ID] {
					continue
				}
				if len(names) > 1 {
					seen[in.ID] = true
				}
				if !yield(in, nil) {
					return
				}
			}
		}
	}
}

func isForbidden(err error) bool {
	_, forbidden := errors.AsType[*apitoken.ForbiddenError](err)
	return forbidden
}

// every returns the tokens of a list, page by page, in the order of creation.
func every(ctx context.Context, m *apitoken.Manager, l apitoken.ListParams) iter.Seq2[*apitoken.TokenInfo, error] {
	return func(yield func(*apitoken.TokenInfo, error) bool) {
		l := l
		l.Order, l.Limit = apitoken.ByCreated, 200
		seen := make(map[string]bool)
		for {
			page, err := m.List(ctx, l)
			if err == nil && seen[page.Next] {
				err = fmt.Errorf("reports: the store lists in circles: %w", apitoken.ErrUnavailable)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, in := range page.Tokens {
				if !yield(in, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			seen[page.Next], l.Cursor = true, page.Next
		}
	}
}
