package apitoken_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/reports"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// Secrets, their digests, keys and encrypted secrets are let through every
// operation, with logs at their most talkative, and must come out nowhere but
// where somebody asked to see them. Only a Record may show its own digests and
// what is protected; no event, error, log or answer carries one.

// everyVerb are the verbs of fmt, also unsuitable ones: for them fmt
// follows pointers that %v does not.
var everyVerb = []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "% x", "%t", "%e", "%c", "%U", "%o", "%b", "%p"}

// showings is what a program shows of a value.
func showings(v any) map[string]string {
	shown := make(map[string]string)
	for _, format := range everyVerb {
		shown[format] = fmt.Sprintf(format, v)
	}
	encode := func(how string, f func(*bytes.Buffer) error) {
		var b bytes.Buffer
		defer func() {
			shown[how] = b.String() + fmt.Sprint(recover())
		}()
		if err := f(&b); err != nil {
			b.WriteString(err.Error())
		}
	}
	encode("json", func(b *bytes.Buffer) error { return json.NewEncoder(b).Encode(v) })
	encode("gob", func(b *bytes.Buffer) error { return gob.NewEncoder(b).Encode(v) })
	for how, h := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler {
			return slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
		"slog json": func(b *bytes.Buffer) slog.Handler {
			return slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
	} {
		encode(how, func(b *bytes.Buffer) error {
			slog.New(h(b)).With("with", v).Debug("m", "v", v, slog.Group("g", "v", v))
			return nil
		})
	}
	if err, ok := v.(error); ok {
		shown["errors"] = err.Error() + fmt.Sprintf("%v", fmt.Errorf("%w", err))
		for e := err; e != nil; e = errors.Unwrap(e) {
			shown["unwrapped"] += fmt.Sprintf("%+v %#v ", e, e)
		}
	}
	return shown
}

// A leakWorld is a service whose every output is kept.
type leakWorld struct {
	t        *testing.T
	canaries *canaries
	store    *leakStore
	config   apitoken.Config
	auth     *apitoken.Authority
	api, ui  http.Handler

	mu    sync.Mutex
	count int
	out   map[string]string // a text to the first that it is
	types map[string]bool   // of the root package, of which there was a value
}

func (w *leakWorld) put(what, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	if _, known := w.out[text]; !known {
		w.out[text] = what
	}
}

// show keeps what is shown of a value.
func (w *leakWorld) show(what string, v any) {
	w.note(reflect.ValueOf(v))
	for how, text := range showings(v) {
		w.put(what+" by "+how, text)
	}
}

// note notes the types of a value and of what programs reach from it.
func (w *leakWorld) note(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		w.note(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			w.note(v.Index(i))
		}
	case reflect.Struct:
		if v.Type().PkgPath() != rootPath {
			return
		}
		w.mu.Lock()
		w.types[v.Type().Name()] = true
		w.mu.Unlock()
		for field, value := range v.Fields() {
			if field.IsExported() {
				w.note(value)
			}
		}
	}
}

// A leakStore fails on demand, as stores do: where it is read with what was read, which
// nobody may look at.
type leakStore struct {
	*memory.Store

	mu      sync.Mutex
	fail    func() error
	methods []string
	failed  map[string]int // method to how often it did
}

// set says what fails from now on, and how.
func (s *leakStore) set(fail func() error, methods ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.methods, s.failed = fail, methods, make(map[string]int)
}

func (s *leakStore) fault(method string) error {
	s.mu.Lock()
	fail := s.fail
	if fail == nil || !slices.Contains(s.methods, method) {
		s.mu.Unlock()
		return nil
	}
	s.failed[method]++
	s.mu.Unlock()
	return fail()
}

func (s *leakStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	return rec, cmp.Or(s.fault("Get"), err)
}

func (s *leakStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	page, err := s.Store.List(ctx, q)
	return page, cmp.Or(s.fault("List"), err)
}

func (s *leakStore) Scan(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
	recs, err := s.Store.Scan(ctx, after, limit)
	return recs, cmp.Or(s.fault("Scan"), err)
}

func (s *leakStore) KeysInUse(ctx context.Context) (macs, secrets map[string]int, err error) {
	macs, secrets, err = s.Store.KeysInUse(ctx)
	return macs, secrets, cmp.Or(s.fault("KeysInUse"), err)
}

func (s *leakStore) write(method string, f func() error) error {
	if err := s.fault(method); err != nil {
		return err
	}
	return f()
}

func (s *leakStore) Create(ctx context.Context, rec apitoken.Record) error {
	return s.write("Create", func() error { return s.Store.Create(ctx, rec) })
}

func (s *leakStore) Replace(ctx context.Context, rec apitoken.Record) error {
	return s.write("Replace", func() error { return s.Store.Replace(ctx, rec) })
}

func (s *leakStore) Delete(ctx context.Context, id string) error {
	return s.write("Delete", func() error { return s.Store.Delete(ctx, id) })
}

func (s *leakStore) Touch(ctx context.Context, uses []apitoken.Use) error {
	return s.write("Touch", func() error { return s.Store.Touch(ctx, uses) })
}

var leakKeyBytes = []byte("Kx7\x01\x02\xfe-row-key-canary-0123456789")
var leakEncryptionBytes = []byte("Ks9\x03\x04\xfd-seal-key-canary-987654321")

func newLeakWorld(t *testing.T) *leakWorld {
	w := &leakWorld{t: t, canaries: newCanaries(t), store: &leakStore{Store: memory.New()}, out: make(map[string]string), types: make(map[string]bool)}
	w.canaries.add("the row key", string(leakKeyBytes))
	w.canaries.add("the encryption key", string(leakEncryptionBytes))
	rowKey, err := apitoken.NewKey("row", leakKeyBytes[:32])
	require.NoError(t, err)
	encryptionKey, err := apitoken.NewKey("encryption", leakEncryptionBytes[:32])
	require.NoError(t, err)
	var text, jsonText bytes.Buffer
	debug := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	toText := apitoken.LogEvents(slog.New(slog.NewTextHandler(&text, debug)))
	toJSON := apitoken.LogEvents(slog.New(slog.NewJSONHandler(&jsonText, debug)))
	var logging sync.Mutex
	observe := func(ctx context.Context, ev apitoken.Event) {
		logging.Lock()
		defer logging.Unlock()
		text.Reset()
		jsonText.Reset()
		toText(ctx, ev)
		toJSON(ctx, ev)
		require.NotZero(t, text.Len())
		w.put("the log of "+string(ev.Action), text.String()+jsonText.String())
		w.show("an event of "+string(ev.Action), ev)
		w.show("the error of "+string(ev.Action), ev.Err)
		w.show("what was before "+string(ev.Action), ev.Before)
		w.show("what was after "+string(ev.Action), ev.After)
	}
	w.config = apitoken.Config{
		Prefix: "acme", Permissions: &wire, Store: w.store, IntegrityKeys: []apitoken.Key{rowKey}, EncryptionKeys: []apitoken.Key{encryptionKey},
		ForeignTokens: apitoken.ForeignTokens{MinLen: 22, MaxLen: 60}, Accept: []apitoken.Source{apitoken.Scheme("apiToken"), apitoken.Bearer(), apitoken.QueryParameter("apiToken")}, KeepDeleted: time.Nanosecond,
		Observe: observe,
		Audit: func(_ context.Context, ev apitoken.Event) error {
			w.show("the event of Audit "+string(ev.Action), ev)
			return nil
		},
		OwnerPermissions: func(_ context.Context, env, owner string) ([]apitoken.Permission, error) {
			w.put("the arguments of OwnerPermissions", env+owner)
			return wire.All(), nil
		},
	}
	w.show("a Config", w.config)
	w.show("a pointer to a Config", &w.config)
	w.auth, err = apitoken.New(w.config)
	require.NoError(t, err)
	t.Cleanup(func() { w.auth.Close() })
	identify := func(r *http.Request) (apitoken.Actor, error) {
		if name := r.Header.Get("User"); name != "" {
			return apitoken.Actor{User: name, Environment: "production", Grants: wire.All(), ManageOthers: name == "admin"}, nil
		}
		return apitoken.Actor{}, manage.ErrNotSignedIn
	}
	manageConfig := manage.Config{
		Authority: w.auth, Identify: identify, Service: "Acme",
		IdentifyToken: func(_ *http.Request, tok apitoken.Token) (apitoken.Actor, error) {
			w.show("a token for IdentifyToken", tok)
			return apitoken.Actor{User: tok.Owner(), Environment: tok.Environment(), Grants: wire.All()}, nil
		},
		Failed: func(_ *http.Request, err error) { w.show("an error for Failed", err) },
	}
	w.show("a manage.Config", manageConfig)
	w.api, err = manage.NewAPI(manageConfig)
	require.NoError(t, err)
	w.ui, err = manage.NewUI(manageConfig)
	require.NoError(t, err)
	return w
}

// ask sends a request to the API or the page and keeps the answer, unless it is
// asked to show a secret, which it returns.
func (w *leakWorld) ask(h http.Handler, method, path, body string, header ...string) (int, string) {
	w.t.Helper()
	r := httptest.NewRequest(method, "https://acme.example"+path, strings.NewReader(body))
	if body == "" {
		r = httptest.NewRequest(method, "https://acme.example"+path, nil)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	text := fmt.Sprint(rec.Code, rec.Result().Header, rec.Body.String())
	if !slices.Contains(header, "shows") {
		w.put("the answer to "+method+" "+strings.SplitN(path, "?", 2)[0], text)
	}
	return rec.Code, text
}

var leakSecretInAnswer = regexp.MustCompile(`acme_[0-9A-Za-z]{66}`)

// mustBeTight looks for everything in everything.
func (w *leakWorld) mustBeTight() {
	w.t.Helper()
	w.canaries.records(w.store.Store)
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Greater(w.t, len(w.out), 1000)
	bad := 0
	for text, what := range w.out {
		if found := w.canaries.in(text); found != nil {
			w.t.Errorf("%s shows %v:\n%.400s", what, found, text)
			if bad++; bad == 10 {
				w.t.FailNow()
			}
		}
	}
	w.t.Logf("%d outputs, %d of them different; %d forms of what must not be in them", w.count, len(w.out), len(w.canaries.of))
}

func TestNoOperationShowsASecretADigestOrAKey(t *testing.T) {
	hasNoRaces(t)
	synctest.Test(t, operateAndLook) // there it is waited for uses to be recorded
}

func operateAndLook(t *testing.T) {
	w := newLeakWorld(t)
	var logged bytes.Buffer // what goes to the default logger
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	ctx := t.Context()
	grants := apitoken.Actor{User: "ada", Environment: "production", Grants: wire.All()}
	m := w.auth.As(grants)
	w.show("a Manager", m)
	w.show("an Actor", grants)
	keep := func(what string, v any, secret apitoken.Secret, err error) {
		w.canaries.token(what, secret)
		w.show("the result of "+what, v)
		w.show("the secret of "+what, secret)
		if err != nil {
			w.show("the error of "+what, err)
		}
		w.canaries.records(w.store.Store)
	}
	nothing := apitoken.Secret{}
	new30 := func(name string) (*apitoken.TokenInfo, apitoken.Secret) {
		in, secret, err := m.Generate(ctx, apitoken.GenerateParams{Name: name, Description: "d", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.In(30 * 24 * time.Hour)})
		keep("generate", in, secret, err)
		require.NoError(t, err)
		return in, secret
	}
	in, secret := new30("one")
	other, otherSecret := new30("two")

	// every fault of the store, in every operation: of what reads and of what writes
	faults := map[string]func() error{
		"none":     nil,
		"error":    func() error { return errors.New("dial tcp 10.0.0.7: refused") },
		"conflict": func() error { return fmt.Errorf("%w", apitoken.ErrConflict) },
		"missing":  func() error { return apitoken.ErrNotFound },
		"exists":   func() error { return apitoken.ErrExists },
		"panic":    func() error { panic("index out of range") },
	}
	round := func(fault string, methods ...string) {
		w.store.set(nil)
		victim, _ := new30("victim")
		buried, _ := new30("buried")
		err := m.Delete(ctx, buried.ID)
		keep("delete", nil, nothing, err)
		time.Sleep(time.Microsecond) // for longer than it is kept
		w.store.set(faults[fault], methods...)
		again, err := apitoken.New(w.config)
		keep("New", again, nothing, err)
		again.Close()
		err = m.Delete(ctx, victim.ID)
		keep("delete", nil, nothing, err)
		_, err = w.auth.As(apitoken.Actor{User: "admin", Environment: "production", ManageOthers: true}).Purge(ctx)
		keep("purge", nil, nothing, err)
		got, err := m.Get(ctx, in.ID)
		keep("get", got, nothing, err)
		list, err := m.List(ctx, apitoken.ListParams{Limit: 1, Text: "o"})
		keep("list", list, nothing, err)
		if list != nil {
			more, err := m.List(ctx, apitoken.ListParams{Limit: 1, Text: "o", Cursor: list.Next})
			keep("list", more, nothing, err)
		}
		_, err = m.List(ctx, apitoken.ListParams{Cursor: "AAAA"})
		keep("list with a wrong cursor", nil, nothing, err)
		name := "three"
		got, err = m.Update(ctx, in.ID, apitoken.UpdateParams{Name: &name, Expiry: apitoken.In(time.Hour), Networks: &[]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
		keep("update", got, nothing, err)
		got, err = m.Update(ctx, in.ID, apitoken.UpdateParams{Networks: &[]netip.Prefix{}, IfVersion: 1})
		keep("update of an old version", got, nothing, err)
		got, err = m.Update(ctx, in.ID, apitoken.UpdateParams{Networks: &[]netip.Prefix{}})
		keep("update", got, nothing, err)
		got, err = m.Deactivate(ctx, in.ID)
		keep("deactivate", got, nothing, err)
		_, shown, err := m.Rotate(ctx, in.ID, time.Hour, "")
		keep("rotate of a deactivated token", nil, shown, err)
		got, err = m.Activate(ctx, in.ID)
		keep("activate", got, nothing, err)
		got, shown, err = m.Rotate(ctx, in.ID, time.Hour, "idempotency-key-canary-0001")
		keep("rotate", got, shown, err)
		got, shown, err = m.Rotate(ctx, in.ID, time.Hour, "idempotency-key-canary-0001")
		keep("rotate again", got, shown, err)
		got, shown, err = m.Rotate(ctx, in.ID, time.Hour, "")
		keep("rotate meanwhile", got, shown, err)
		shown, err = m.Reveal(ctx, in.ID)
		keep("reveal", nil, shown, err)
		got, err = m.UndoRotation(ctx, in.ID)
		keep("end overlap", got, nothing, err)
		got, err = m.EndOverlap(ctx, in.ID)
		keep("end overlap again", got, nothing, err)
		x, err := m.Explain(ctx, in.ID, apitoken.All(wireWrite), netip.Addr{})
		keep("explain", x, nothing, err)
		foreign := apitoken.NewSecret("Foreign" + mint(fault).secret)
		asked := apitoken.ImportParams{GenerateParams: apitoken.GenerateParams{Name: "i", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()}, Secret: foreign}
		got, err = m.Import(ctx, asked)
		keep("import", got, foreign, err)
		w.show("an Import", asked)
		hash := sha256Of("Foreign by hash " + fault)
		w.canaries.add("an imported hash", string(hash))
		asked.Secret, asked.SHA256 = nothing, hash
		got, err = m.Import(ctx, asked)
		keep("import by hash", got, nothing, err)
		w.show("a pointer to an Import by hash", &asked)
		for how, text := range showings(asked) {
			if how != "%p" { // which says %!p and all that there is, also where there is a Format
				w.put("an Import by hash by "+how, text)
			}
		}
		tooShort := apitoken.NewSecret("tooShortCanary")
		_, err = m.Import(ctx, apitoken.ImportParams{GenerateParams: apitoken.GenerateParams{Name: "i"}, Secret: tooShort})
		keep("import of a short text", nil, tooShort, err)
		_, shown, err = m.Generate(ctx, apitoken.GenerateParams{Name: "\x00"})
		keep("generate with mistakes", nil, shown, err)
		_, shown, err = w.auth.As(apitoken.Actor{}).Generate(ctx, apitoken.GenerateParams{})
		keep("generate by nobody", nil, shown, err)
		done, err := m.Bulk(ctx, apitoken.BulkParams{Action: "deactivate", IDs: []string{in.ID, other.ID, "x"}})
		keep("bulk", done, nothing, err)
		admin := w.auth.As(apitoken.Actor{User: "admin", Environment: "production", ManageOthers: true})
		for stopped, err := range reports.PreviewPolicy(ctx, admin, apitoken.Policy{MaxLifetime: time.Nanosecond}) {
			keep("preview", stopped, nothing, err)
		}
		shown, err = admin.Reveal(ctx, in.ID)
		keep("reveal by an administrator", nil, shown, err)
		progress, err := w.auth.Rekey(ctx, apitoken.RekeyParams{})
		keep("rekey", progress, nothing, err)
		// requests
		texts := []string{
			secret.Reveal(), otherSecret.Reveal(), foreign.Reveal(), secret.Reveal() + "x", otherSecret.Reveal()[:70], "x", "",
			mint("never issued, a canary").text, in.DisplayID + mint("another secret, a canary").secret + "000000",
		}
		w.canaries.token("a token that was never issued", apitoken.NewSecret(texts[7]))
		w.canaries.add("a wrong secret", mint("another secret, a canary").secret)
		for _, text := range texts {
			for _, h := range []http.Handler{w.guarded(wireRead), w.guarded(wireReportsAd)} {
				w.ask(h, "GET", "/", "", "Authorization", "apiToken "+text)
				w.ask(h, "GET", "/", "", "Authorization", "Bearer "+text)
				w.ask(h, "GET", "/", "", "Authorization", "apiToken "+text+" "+text)
				w.ask(h, "GET", "/?a=1&apiToken="+text, "")
				w.ask(h, "GET", "/?apiToken="+text+"&apiToken="+text, "")
				w.ask(h, "GET", "//x?apiToken="+text, "", "Authorization", "apiToken "+text)
			}
			credential := apitoken.Credential{Secret: apitoken.NewSecret(text)}
			w.show("what is presented", credential)
			tok, err := w.auth.Verify(ctx, credential, apitoken.All(wireRead))
			keep("verify", tok, nothing, err)
			if refusal, ok := errors.AsType[*apitoken.Refusal](err); ok {
				w.show("the problem of a refusal", refusal.Problem())
			}
			derived, err := w.auth.Derive(tok, apitoken.Derived{For: time.Minute, Label: "job"})
			keep("derive", apitoken.Derived{Label: "job"}, derived, err)
			again, err := w.auth.Recheck(ctx, tok, apitoken.All(wireWrite))
			keep("recheck", again, nothing, err)
		}

		// the API and the page
		asAda := []string{"User", "ada", "Content-Type", "application/json", "Sec-Fetch-Site", "same-origin"}
		id := other.ID
		for _, c := range []struct{ method, path, body string }{
			{"GET", "/tokens", ""}, {"GET", "/tokens?limit=1&q=t", ""}, {"GET", "/tokens/" + id, ""}, {"GET", "/permissions", ""}, {"GET", "/openapi.json", ""},
			{"PATCH", "/tokens/" + id, `{"name":"four"}`}, {"PATCH", "/tokens/" + id, `{"active":true}`}, {"PATCH", "/tokens/" + id, `{"x":1}`},
			{"POST", "/tokens/" + id + "/end-overlap", `{"keep":"old"}`}, {"POST", "/tokens/bulk", `{"action":"activate","ids":["` + id + `"]}`},
			{"GET", "/self", ""}, {"POST", "/tokens", `{`},
		} {
			w.ask(w.api, c.method, c.path, c.body, asAda...)
			w.ask(w.api, c.method, c.path, c.body, "Authorization", "apiToken "+otherSecret.Reveal(), "Content-Type", "application/json")
			w.ask(w.api, c.method, c.path, c.body, append(asAda, "Authorization", "apiToken "+otherSecret.Reveal())...)
			w.ask(w.api, c.method, c.path+"?apiToken="+otherSecret.Reveal(), c.body, asAda...)
		}
		for _, c := range []struct{ path, body string }{
			{"/tokens", `{"name":"five","permissions":["devices:read"],"never":true}`},
			{"/tokens/" + id + "/rotate", `{"overlap":"1h"}`}, {"/tokens/" + id + "/reveal", ""},
		} {
			code, answer := w.ask(w.api, "POST", c.path, c.body, append(asAda, "shows", "1")...)
			for _, text := range leakSecretInAnswer.FindAllString(answer, -1) {
				w.canaries.token("an answer of the API", apitoken.NewSecret(text))
			}
			if code >= 300 {
				w.put("a refusal of the API", answer)
			}
		}
		forms := []string{"User", "ada", "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin", "Origin", "https://acme.example"}
		for _, path := range []string{"/", "/all", "/generate", "/tokens/" + id, "/tokens/" + id + "/rotate", "/tokens/" + id + "/reveal", "/tokens/" + id + "/delete", "/tokens/" + id + "/deactivate", "/nothing"} {
			w.ask(w.ui, "GET", path, "", "User", "ada")
			w.ask(w.ui, "GET", path, "", "User", "admin")
			w.ask(w.ui, "GET", path, "")
		}
		for _, path := range []string{"/generate", "/tokens/" + id + "/rotate", "/tokens/" + id + "/reveal"} {
			_, page := w.ask(w.ui, "GET", path, "", "User", "ada")
			ticket := regexp.MustCompile(`name="ticket" value="([^"]*)"`).FindStringSubmatch(page)
			form := url.Values{"name": {"six"}, "expires": {"30d"}, "permission": {"devices:read"}, "overlap": {"1h"}}
			if ticket != nil {
				form.Set("ticket", ticket[1])
			}
			_, answer := w.ask(w.ui, "POST", path, form.Encode(), append(forms, "shows", "1")...)
			for _, text := range leakSecretInAnswer.FindAllString(answer, -1) {
				w.canaries.token("an answer of the page", apitoken.NewSecret(text))
			}
			w.ask(w.ui, "POST", path, form.Encode(), append(forms, "again", "1")...) // the form once more
		}
		time.Sleep(2 * time.Minute) // by then uses are written
		synctest.Wait()
		w.canaries.records(w.store.Store)
	}
	round("none")
	for _, c := range []struct {
		faults  []string
		methods []string
	}{
		{[]string{"error", "missing", "panic"}, []string{"Get", "KeysInUse", "List", "Scan"}},
		{[]string{"error", "conflict", "missing", "exists", "panic"}, []string{"Create", "Replace", "Touch"}},
		{[]string{"error", "missing", "panic"}, []string{"Delete"}},
	} {
		for _, fault := range c.faults {
			round(fault, c.methods...)
			assert.Equal(t, c.methods, slices.Sorted(maps.Keys(w.store.failed)), "what failed by %s", fault)
		}
	}
	round("none")
	rec, err := w.store.Get(ctx, in.ID)
	require.NoError(t, err)
	position, routes, name := rec.Position(apitoken.ByName), w.auth.Routes(http.NewServeMux()), "four"
	routes.Handle("GET /devices", "Devices", apitoken.All(wireRead), http.NotFoundHandler())
	for _, v := range []any{
		apitoken.ListParams{Text: "o"}, apitoken.BulkParams{IDs: []string{in.ID}}, apitoken.RevokeParams{MadeWith: in.ID}, apitoken.UpdateParams{Name: &name}, apitoken.RekeyParams{After: in.ID},
		apitoken.Query{Policy: w.auth.Policy(), After: &position}, apitoken.All(wireRead), routes, routes.Table(),
	} {
		w.show("the parameters", v)
	}
	err = m.Delete(ctx, in.ID)
	keep("delete", nil, nothing, err)
	w.show("a pointer to an Authority", w.auth)
	w.show("a store in memory", w.store.Store)
	w.show("stats", w.auth.Stats())
	w.show("a type of objects", wireDevice)
	w.put("the default log", logged.String())
	w.mustBeTight()
	w.mustHaveShownEveryType()
}

// mustHaveShownEveryType fails for an exported type of which no value was shown.
func (w *leakWorld) mustHaveShownEveryType() {
	api, err := os.ReadFile(apiFile)
	require.NoError(w.t, err)
	forStores := []string{"Page", "Record", "SecretRecord", "Use"} // they hold digests, and may show them
	for _, m := range regexp.MustCompile(`(?m)^type (\w+) struct$`).FindAllStringSubmatch(string(api), -1) {
		assert.True(w.t, w.types[m[1]] || slices.Contains(forStores, m[1]), "no %s was looked at", m[1])
	}
}

// guarded is a handler behind everything; it shows what it is given.
func (w *leakWorld) guarded(p apitoken.Permission) http.Handler {
	return w.auth.HideQueryToken(w.auth.Require(p)(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		tok, _ := apitoken.FromContext(r.Context())
		w.show("the token of a request", tok)
		w.show("a pointer to it", &tok)
		w.show("a struct with it", struct{ T, t apitoken.Token }{tok, tok})
		if r.Header.Get("Authorization") == "" {
			w.show("a request", r)
			w.show("a copy of a request", *r)
		}
		w.show("the context of a request", r.Context())
		w.put("the URL of a request", r.URL.String()+r.RequestURI+r.FormValue("apiToken"))
		rw.WriteHeader(http.StatusNoContent)
	})))
}

func TestTheSearchForSecretsFindsThem(t *testing.T) {
	c := newCanaries(t)
	c.token("a token", apitoken.NewSecret(goodToken.text))
	rec := goodToken.record(wireRead)
	type logged struct {
		R apitoken.Record
		s string
	}
	for how, text := range showings(logged{rec, goodToken.text}) {
		if how != "gob" && !strings.Contains(how, "q") {
			assert.NotEmpty(t, c.in(text), how)
		}
	}
	for _, text := range []string{
		goodToken.secret[9:18], fmt.Sprintf("%x", sha256Of(goodToken.secret)), base64.StdEncoding.EncodeToString(sha256Of(goodToken.secret)),
		fmt.Sprint(sha256Of(goodToken.secret)), string(sha256Of(goodToken.secret)), fmt.Sprintf("%q", goodToken.text), fmt.Sprintf("%#v", sha256Of(goodToken.secret)),
	} {
		assert.NotEmpty(t, c.in("before "+text+" after"), text)
	}
	assert.Empty(t, c.in(goodToken.id+" acme_"+goodToken.id))
}
