package apitoken

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
)

// An application is what the functions of a Config say. Whatever they do, return, panic
// or hang, is an answer or an error here.
type application struct {
	config *Config
	owners *bulkhead.Bulkhead
}

// ownerPermissions returns what the owner of a token may do now, if the
// application says so.
func (a *application) ownerPermissions(ctx context.Context, environment, owner string) (set permSet, limited bool, err error) {
	if a.config.OwnerPermissions == nil {
		return permSet{}, false, nil
	}
	perms, err := bulkhead.Call(ctx, a.owners, func(ctx context.Context) ([]Permission, error) {
		return a.config.OwnerPermissions(ctx, environment, owner)
	})
	if err != nil {
		return permSet{}, true, err
	}
	for _, p := range perms {
		if p.p == nil || p.p.catalog != a.config.Permissions {
			return permSet{}, true, errors.New("apitoken: Config.OwnerPermissions returned one that is not of the catalog")
		}
		set.add(p.p)
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
	default: // net/http writes IP:port
		var ok bool
		if addr, ok = ipv4Peer(q.http.RemoteAddr); ok {
			return addr, nil
		}
		both, _ := netip.ParseAddrPort(q.http.RemoteAddr)
		addr = both.Addr()
	}
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, err
	}
	return addr.Unmap(), nil
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

// audit asks, in a lane, whether a change may be made. Only a ForbiddenError is a veto; whatever
// else is wrong with the answer is ErrUnavailable.
func (a *application) audit(ctx context.Context, lane *bulkhead.Bulkhead, ev Event) error {
	if a.config.Audit == nil {
		return nil
	}
	_, err := bulkhead.Call(ctx, lane, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, a.config.Audit(ctx, ev)
	})
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
