// Package page is the web page on which people manage API tokens: HTML that the
// server makes, with forms that work without JavaScript. Authorization is up to
// apitoken.Manager.
package page

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/signin"
	"github.com/apitoken-go/apitoken/manage/internal/words"
)

// A Config has the fields of manage.Config that the page needs.
type Config struct {
	Authority *apitoken.Authority
	Identify  func(*http.Request) (apitoken.Actor, error)
	SignIn    http.Handler
	Routes    []apitoken.Route
	Service   string
	Home      string
	Words     *words.Words // nil is English
	Location  func(*http.Request) *time.Location
	Users     func(context.Context, []string) (map[string]string, error)
	Path      []Crumb

	ListResources func(ctx context.Context, actor apitoken.Actor, resourceType, search string) ([]Choice, error)

	Style          map[string]string
	Logo           []byte
	LogoURL        string
	Layout         func(io.Writer, Frame) error // nil: the page is a whole document
	Sources        []string
	FrameAncestors []string
	PublicURL      string
	Failed         func(*http.Request, error)

	// CrossOrigin detects requests that pages of other sites make. New sets its
	// DenyHandler.
	CrossOrigin *http.CrossOriginProtection
}

// A Crumb is a link to a page of the service. Link may be "".
type Crumb struct{ Label, Link string }

// New returns the handler of the page. It may get paths with or without the prefix
// under which the page is mounted.
func New(c Config) http.Handler {
	h := &handler{config: c, now: time.Now, tickets: newTickets(), words: cmp.Or(c.Words, new(words.Words))}
	h.said = h.words.Translator(lines(libraryTexts))
	h.brand()
	h.templates = h.parseTemplates()
	c.CrossOrigin.SetDenyHandler(http.HandlerFunc(h.crossOrigin))
	guarded := c.CrossOrigin.Handler(http.HandlerFunc(h.serve))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.setHeaders(w.Header())
		guarded.ServeHTTP(w, r)
	})
}

type handler struct {
	config    Config
	now       func() time.Time
	tickets   *tickets
	words     *words.Words
	said      func(string) string // translates a text of the library, which has its values already
	assets    assets              // of this service
	logo      string              // the file, "" for none
	policy    string              // Content-Security-Policy
	templates map[string]*template.Template
}

// A request is an HTTP request for a page by a user who is signed in.
type request struct {
	*http.Request
	w     http.ResponseWriter
	actor apitoken.Actor
	at    location
	now   time.Time
}

// setHeaders sets the header fields of every answer. The page has no inline style or
// script, and the policy forbids them: a text that was not escaped could do nothing.
func (h *handler) setHeaders(header http.Header) {
	header.Set("Content-Security-Policy", h.policy)
	if h.config.FrameAncestors != nil {
		header.Del("X-Frame-Options") // of the service; it would forbid what the policy allows
	}
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}

// maxForm is the length of the longest form, in bytes. It has room for a thousand
// permissions with long names.
const maxForm = 256 << 10

// serve answers a request that no page of another site made.
func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	at := locate(r.URL.Path)
	if at.page == pageAsset {
		h.serveAsset(w, r, at.id)
		return
	}
	if r.URL.Path == "" { // http.StripPrefix has removed a prefix without the slash at its end
		here, query, _ := strings.Cut(r.RequestURI, "?")
		to := path.Base(here) + "/"
		if query != "" {
			to += "?" + query
		}
		seeOther(w, to)
		return
	}
	rq := &request{Request: r, w: w, at: at, now: h.clock(r)}
	posted := r.Method == http.MethodPost
	if posted {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			h.fail(rq, http.StatusBadRequest, h.words.Text("The form could not be read"), h.words.Text("It was incomplete or too long. Nothing was changed."))
			return
		}
	}
	actor, err := signin.Ask("Config.Identify", func() (apitoken.Actor, error) { return h.config.Identify(r) })
	switch {
	case errors.Is(err, signin.ErrNotSignedIn) && posted:
		h.resend(rq, http.StatusUnauthorized, h.words.Text("You are not signed in any more"),
			h.words.Text("You were signed out, and nothing was changed. Open the sign-in page in another tab, then send this form again."))
		return
	case errors.Is(err, signin.ErrNotSignedIn) && h.config.SignIn != nil:
		h.signIn(rq)
		return
	case errors.Is(err, signin.ErrNotSignedIn):
		h.fail(rq, http.StatusUnauthorized, h.words.Text("You are not signed in"), h.words.Text("Sign in to manage your API tokens."))
		return
	case err != nil && posted:
		h.failed(rq, fmt.Errorf("Config.Identify: %w", err))
		h.resend(rq, http.StatusServiceUnavailable, h.words.Text("The service can’t check who you are"),
			h.words.Text("Signing in does not work at the moment, and nothing was changed. Send this form again in a minute."))
		return
	case err != nil:
		h.failed(rq, fmt.Errorf("Config.Identify: %w", err))
		h.fail(rq, http.StatusServiceUnavailable, h.words.Text("The service can’t check who you are"), h.words.Text("Signing in does not work at the moment. Try again in a minute."))
		return
	case signin.Incomplete("", actor) != "":
		h.fail(rq, http.StatusForbidden, h.words.Text("You can’t manage API tokens"), h.words.Text("You are signed in, but do not belong to an environment. Ask an administrator of this service."))
		return
	}
	rq.actor = actor
	h.dispatch(rq)
}

// dispatch calls the method for the page of the request.
func (h *handler) dispatch(rq *request) {
	var get, post func(*request)
	switch rq.at.page {
	case pageMine, pageAll:
		get = h.list
	case pageGenerate:
		get, post = h.generateForm, h.generate
	case pageBulk:
		get, post = h.bulkForm, h.bulk
	case pageRevoke:
		get, post = h.revokeForm, h.revoke
	case pageToken:
		get = h.token
	case "reveal":
		get, post = h.backToToken, h.reveal
	case "rotate":
		get, post = h.rotateForm, h.rotate
	case "edit":
		get, post = h.editForm, h.edit
	case "history":
		get = h.history
	case "revoke-made":
		get, post = h.revokeMadeForm, h.revokeMade
	case pageWhoCan:
		get = h.whoCan
	case "end-overlap":
		get, post = h.endOverlapForm, h.endOverlap
	case "activate", "deactivate", "delete":
		get, post = h.changeForm, h.change
	default:
		h.fail(rq, http.StatusNotFound, h.words.Text("There is no such page"), h.words.Text("Check the address. The page may have been removed."))
		return
	}
	switch rq.Method {
	case http.MethodGet, http.MethodHead:
		get(rq)
		return
	case http.MethodPost:
		if post != nil {
			post(rq)
			return
		}
	}
	allow := "GET, HEAD"
	if post != nil {
		allow += ", POST"
	}
	rq.w.Header().Set("Allow", allow)
	h.fail(rq, http.StatusMethodNotAllowed, h.words.Text("This is not possible here"), h.words.Text("You can only look at this page."))
}

// clock returns the time, in the time zone of the reader.
func (h *handler) clock(r *http.Request) time.Time {
	now := h.now().UTC()
	if h.config.Location == nil {
		return now
	}
	if at := h.config.Location(r); at != nil {
		return now.In(at)
	}
	return now
}

// manager returns the Manager that acts for the user.
func (h *handler) manager(rq *request) *apitoken.Manager {
	return h.config.Authority.As(rq.actor)
}

// crossOrigin refuses a request that a page of another site made.
func (h *handler) crossOrigin(w http.ResponseWriter, r *http.Request) {
	rq := &request{Request: r, w: w, at: locate(r.URL.Path), now: h.clock(r)}
	h.fail(rq, http.StatusForbidden, h.words.Text("This came from another site"),
		h.words.Text("Another site has sent this form in your name. Nothing was changed. If it was you, open the page itself and try again."))
}

// seeOther redirects to a relative address. http.Redirect would resolve the address
// against a path that http.StripPrefix may have shortened.
func seeOther(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}
