package apitoken

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"

	"github.com/apitoken-go/apitoken/internal/bitset"
	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/network"
)

// An application is what the functions of a Config say. Whatever they do, return, panic
// or hang, is an answer or an error here.
type application struct {
	config *Config
	owners *bulkhead.Shared[[]Permission]
}

// ownerPermissions returns what the owner of a token may do now, if the
// application says so.
func (a *application) ownerPermissions(ctx context.Context, environment, owner string) (set bitset.Set, limited bool, err error) {
	if a.config.OwnerPermissions == nil {
		return bitset.Set{}, false, nil
	}
	perms, err := a.owners.Call(ctx, holder(environment, owner), func(ctx context.Context) ([]Permission, error) {
		return a.config.OwnerPermissions(ctx, environment, owner)
	})
	if err != nil {
		return bitset.Set{}, true, err
	}
	for _, p := range perms {
		if p.p == nil || p.p.Catalog != &a.config.Permissions.catalog {
			return bitset.Set{}, true, errors.New("apitoken: Config.OwnerPermissions returned one that is not of the catalog")
		}
		set.Add(p.p.Index)
	}
	return set, true, nil
}

// environment returns the environment that a request is about.
func (a *application) environment(q *request, tok *Token) (env string, err error) {
	switch {
	case q.credential != nil && q.credential.Environment != "":
		return q.credential.Environment, nil
	case a.config.Environment == nil:
		return tok.Environment(), nil
	case q.credential != nil:
		return "", errors.New("apitoken: Credential.Environment is missing")
	}
	defer bulkhead.Recover("Config.Environment", &err)
	env, err = a.config.Environment(q.http)
	err = bulkhead.ForceError(err)
	if err == nil && env == "" {
		err = errors.New("apitoken: Config.Environment returned no environment")
	}
	return env, err
}

// address returns the address that a request came from: IPv4 as IPv4, and the
// zero Addr, which is in no network, where it is not known or has a zone.
func (a *application) address(q *request) (netip.Addr, error) {
	if !q.asked {
		q.addr, q.addrErr = a.askAddress(q)
		q.asked = true
	}
	return q.addr, q.addrErr
}

func (a *application) askAddress(q *request) (addr netip.Addr, err error) {
	switch {
	case q.credential != nil:
		addr = q.credential.Address
	case a.config.ClientAddr != nil:
		defer bulkhead.Recover("Config.ClientAddr", &err)
		addr, err = a.config.ClientAddr(q.http)
		err = bulkhead.ForceError(err)
	default:
		addr = network.Peer(q.http.RemoteAddr)
	}
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, err
	}
	return addr.Unmap(), nil
}

// ForwardedFor returns a function for Config.ClientAddr of a service behind proxies. The
// proxies have addresses in the given networks and append the address of their peer to
// X-Forwarded-For.
//
// The function starts with the peer of the connection. As long as an address is that of
// a trusted proxy, it goes to the next address of X-Forwarded-For from the right. It
// ignores what stands to the left of the first other address, because anybody could have
// written it. An address may have a port, and IPv6 addresses may have brackets. If a
// trusted proxy appended anything else, the address is unknown, and tokens with an IP
// allowlist are refused. ForwardedFor returns an error if a network is invalid.
func ForwardedFor(trusted ...netip.Prefix) (func(*http.Request) (netip.Addr, error), error) {
	proxies, err := networks(trusted)
	if err != nil {
		return nil, err
	}
	return func(r *http.Request) (netip.Addr, error) { return network.Forwarded(r, proxies), nil }, nil
}

// networks returns networks as they are stored.
func networks(list []netip.Prefix) ([]netip.Prefix, error) {
	list, err := network.Normalize(list)
	if err != nil {
		return nil, &FieldError{"allowed_networks", err.Error()}
	}
	return list, nil
}

// observe tells the observer. A panic of the observer is an error.
func (a *application) observe(ctx context.Context, ev *Event) (err error) {
	if a.config.Observe == nil {
		return nil
	}
	defer bulkhead.Recover("Config.Observe", &err)
	a.config.Observe(ctx, *ev)
	return nil
}

// audit asks, in a lane and on behalf of a holder, whether a change may be made. Only a
// ForbiddenError is a veto; whatever else is wrong with the answer is ErrUnavailable.
func (a *application) audit(ctx context.Context, lane *bulkhead.Bulkhead, holder string, ev Event) error {
	if a.config.Audit == nil {
		return nil
	}
	err := bulkhead.Do(ctx, lane, holder, func(ctx context.Context) error { return a.config.Audit(ctx, ev) })
	if _, veto := errors.AsType[*ForbiddenError](err); err == nil || veto {
		return err
	}
	return unavailable(err)
}

// refusalBody returns what the application sends with a refusal; false if the problem
// document is to be sent.
func (a *application) refusalBody(r *http.Request, ref *Refusal) (contentType string, body []byte, ok bool) {
	if a.config.RefusalBody == nil {
		return "", nil, false
	}
	var err error
	func() {
		defer bulkhead.Recover("Config.RefusalBody", &err)
		contentType, body = a.config.RefusalBody(r, ref.Problem())
	}()
	return cmp.Or(contentType, "text/plain; charset=utf-8"), body, err == nil
}
