package benchmarks

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"net/http"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A synthetic store has any number of tokens without keeping them: each is made
// from its number, which its ID tells. Nothing in it ever changes.
type synthetic struct {
	n     int
	names []string // of permissions
	made  time.Time
}

// The form of a minted token, which testdata/vectors.json of the root holds.
const (
	idLen     = 17
	secretLen = 43
	tokenLen  = len("acme_") + idLen + secretLen + 6
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// numberLen is how many digits of an ID are the number of the token.
const numberLen = 5

// digits62 appends a number in base62.
func digits62(to []byte, n uint64, width int) []byte {
	to = append(to, make([]byte, width)...)
	for i := len(to) - 1; width > 0; i, width = i-1, width-1 {
		to[i] = base62[n%62]
		n /= 62
	}
	return to
}

// mix makes of a number one that looks like any other (SplitMix64).
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// appendToken appends the text of the token number i.
func appendToken(to []byte, i int) []byte {
	begin := len(to)
	seed := uint64(i) << 8
	to = append(to, "acme_"...)
	to = digits62(to, mix(seed), 6)
	to = digits62(to, mix(seed+1), 6)
	to = digits62(to, uint64(i), numberLen)
	for k := range uint64(4) {
		to = digits62(to, mix(seed+2+k), 10)
	}
	to = digits62(to, mix(seed+6), 3)
	return digits62(to, uint64(crc32.ChecksumIEEE(to[begin:])), 6)
}

// headers returns values of Authorization for all tokens, of which it takes the
// first n characters, in an order that has nothing to do with their numbers, as one
// text and the length of each.
func (s *synthetic) headers(n int) (all string, each int) {
	const scheme = "apiToken"
	each = len(scheme) + 1 + n
	var b strings.Builder
	b.Grow(s.n * each)
	buf := make([]byte, 0, len(scheme)+1+tokenLen)
	for k := range s.n {
		// A step that has no divisor in common with n visits each number once.
		i := int(uint64(k) * 7_368_787 % uint64(s.n))
		b.Write(appendToken(append(append(buf, scheme...), ' '), i)[:each])
	}
	return b.String(), each
}

// Get implements [apitoken.Store].
func (s *synthetic) Get(_ context.Context, id string) (apitoken.Record, error) {
	if len(id) != idLen {
		return apitoken.Record{}, apitoken.ErrNotFound
	}
	n := 0
	for i := idLen - numberLen; i < idLen; i++ {
		n = 62*n + strings.IndexByte(base62, id[i])
	}
	if n < 0 || n >= s.n {
		return apitoken.Record{}, apitoken.ErrNotFound
	}
	text := string(appendToken(nil, n))
	secret := text[len("acme_")+idLen:][:secretLen]
	if text[len("acme_"):][:idLen] != id {
		return apitoken.Record{}, apitoken.ErrNotFound
	}
	digest := sha256.Sum256([]byte(secret))
	return apitoken.Record{
		ID: id, Version: 1, Environment: apitoken.DefaultEnvironment,
		Owner: "owner-" + string(digits62(nil, uint64(n), 6)), Name: "nightly backup", Permissions: s.names,
		Status: apitoken.StatusActive, CreatedAt: s.made, CreatedBy: "owner", ChangedAt: s.made, ExpiresAt: s.made.AddDate(1, 0, 0),
		Secrets: []apitoken.SecretRecord{{Digest: digest[:], CreatedAt: s.made}},
	}, nil
}

// Watch implements [apitoken.Watcher]: there is nothing that it could miss.
func (s *synthetic) Watch(ctx context.Context, feed apitoken.Feed) error {
	feed.Reset()
	for tick := time.Tick(feed.Interval()); ; {
		feed.CaughtUp(time.Now())
		select {
		case <-tick:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Touch implements [apitoken.Toucher].
func (s *synthetic) Touch(context.Context, []apitoken.Use) error { return nil }

var errReadOnly = errors.New("benchmarks: this store cannot be changed")

func (s *synthetic) Create(context.Context, apitoken.Record) error  { return errReadOnly }
func (s *synthetic) Replace(context.Context, apitoken.Record) error { return errReadOnly }
func (s *synthetic) Delete(context.Context, string) error           { return errReadOnly }
func (s *synthetic) List(context.Context, apitoken.Query) (apitoken.Page, error) {
	return apitoken.Page{}, errReadOnly
}

// A crowd is an implementation that holds very many tokens.
type crowd struct {
	length  int // of its tokens
	handler http.Handler
	held    func() int // tokens in memory
	close   func() error
}

// shortLen is how much of a token the floor's are, which are as those of [User].
const shortLen = len("acme_") + 43

// newLibraryCrowd has all tokens of a store in the library's cache, once they were
// presented.
func newLibraryCrowd(w *Work, s *synthetic) (*crowd, error) {
	a, perms, err := newAuthority(w, s, 0, max(s.n, 1<<18)) // which is the default
	if err != nil {
		return nil, err
	}
	h := a.Require(perms[w.Required[Allowed][0]], perms[w.Required[Allowed][1]])(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, _ := apitoken.FromContext(r.Context())
		w.WriteHeader(Accepted(tok.Owner()))
	}))
	for !a.Stats().Feed { // which begins with an empty memory
		time.Sleep(time.Millisecond)
	}
	return &crowd{tokenLen, h, func() int { return int(a.Stats().CacheEntries) }, a.Close}, nil
}

// newFloorCrowd has all tokens of a store in a Go map.
func newFloorCrowd(w *Work, s *synthetic) (*crowd, error) {
	all := make(accounts)
	var buf []byte
	for i := range s.n {
		buf = appendToken(buf[:0], i)
		all[sha256.Sum256(buf[:shortLen])] = &account{
			name: "owner-" + string(digits62(nil, uint64(i), 6)), permissions: 1<<granted - 1, names: s.names,
		}
	}
	f, next := &floor{all, w.bits(Allowed)}, withAccount(Accepted)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, refusal := f.check(r)
		if refusal != nil {
			refusal.write(w)
			return
		}
		next.ServeHTTP(w, r.WithContext(&accountContext{r.Context(), a}))
	})
	return &crowd{shortLen, h, func() int { return len(all) }, func() error { return nil }}, nil
}

// crowds are what is measured with very many tokens.
var crowds = []struct {
	name string
	new  func(*Work, *synthetic) (*crowd, error)
}{{"apitoken", newLibraryCrowd}, {"floor", newFloorCrowd}}

func newSynthetic(w *Work, n int) *synthetic {
	return &synthetic{n, w.Granted(), time.Now().UTC().Truncate(time.Microsecond)}
}
