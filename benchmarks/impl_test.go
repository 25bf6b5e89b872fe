package benchmarks

import (
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/apitoken-go/apitoken/internal/test/allocated"
)

// users is a Serve that tells whom it was called for.
type users struct {
	mu  sync.Mutex
	got []string
}

func (u *users) serve(user string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got = append(u.got, user)
	return Accepted(user)
}

// calls returns for whom handlers were called since it was last asked.
func (u *users) calls() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	got := u.got
	u.got = nil
	return got
}

// forEach runs a test for every Impl, with work for 50 users.
func forEach(t *testing.T, f func(t *testing.T, i Impl, w *Work, s *Server, spy *users)) {
	w := NewWork(50)
	w.PasswordCost = bcrypt.MinCost
	for _, i := range Impls {
		t.Run(i.Name, func(t *testing.T) {
			spy := new(users)
			s, err := i.New(w, spy.serve)
			require.NoError(t, err)
			f(t, i, w, s, spy)
		})
	}
}

func TestWhoHasATokenIsAcceptedAsWhoHeIs(t *testing.T) {
	forEach(t, func(t *testing.T, i Impl, w *Work, s *Server, spy *users) {
		c := s.Client(Allowed)
		for range 2 { // from a store and from a cache
			for k, token := range s.Tokens {
				require.Equal(t, http.StatusOK, c(s.Scheme+" "+token))
				want := w.Users[k].Name
				if i.Name == "bare" {
					want = "nobody"
				}
				require.Equal(t, []string{want}, spy.calls())
			}
		}
	})
}

func TestWhoeverElseIsRefusedAndTheHandlerNotCalled(t *testing.T) {
	forEach(t, func(t *testing.T, i Impl, w *Work, s *Server, spy *users) {
		if i.Name == "bare" {
			return // whose name says it
		}
		s.Warm()
		spy.calls()
		for _, why := range Refusals {
			c := s.Client(why.Route)
			for _, value := range why.Values(s) {
				require.Equal(t, why.Status(i), c(value), "%s: %.100q", why.Name, value)
			}
			assert.Empty(t, spy.calls(), why.Name)
			// The client is still good, so that it was not this that was refused.
			require.Equal(t, http.StatusOK, s.Client(Allowed)(s.Scheme+" "+s.Tokens[0]))
			require.Len(t, spy.calls(), 1)
		}
	})
}

func TestATokenThatIsCutOrLongerIsNoToken(t *testing.T) {
	forEach(t, func(t *testing.T, i Impl, w *Work, s *Server, spy *users) {
		if i.Name == "bare" {
			return
		}
		c := s.Client(Allowed)
		for _, token := range []string{s.Tokens[0][:len(s.Tokens[0])-1], s.Tokens[0] + "A", s.Tokens[0][1:], ""} {
			assert.NotEqual(t, http.StatusOK, c(s.Scheme+" "+token), "%q", token)
		}
		assert.NotEqual(t, http.StatusOK, c("Basic "+s.Tokens[0]))
		assert.NotEqual(t, http.StatusOK, c(s.Tokens[0]))
		assert.Empty(t, spy.calls())
	})
}

func TestRequestsAtTheSameTimeAreNotMixedUp(t *testing.T) {
	forEach(t, func(t *testing.T, i Impl, w *Work, s *Server, spy *users) {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				allowed, forbidden := s.Client(Allowed), s.Client(Forbidden)
				for _, token := range s.Tokens {
					assert.Equal(t, http.StatusOK, allowed(s.Scheme+" "+token))
					if i.Name != "bare" {
						assert.Equal(t, http.StatusForbidden, forbidden(s.Scheme+" "+token))
					}
				}
			})
		}
		group.Wait()
		count := make(map[string]int)
		for _, user := range spy.calls() {
			count[user]++
		}
		for k := range s.Tokens {
			if i.Name != "bare" {
				assert.Equal(t, 4, count[w.Users[k].Name])
			}
		}
	})
}

func TestARotationPresentsEveryTokenOnceInAnotherOrder(t *testing.T) {
	w := NewWork(1000)
	s, err := newFloor(w, Accepted)
	require.NoError(t, err)
	var want []string
	for _, token := range s.Tokens {
		want = append(want, "apiToken "+token)
	}
	got := s.Rotation(s.Tokens)
	assert.ElementsMatch(t, want, got)
	assert.NotEqual(t, want, got)
	for _, junk := range s.Junk() {
		assert.Len(t, junk, len(want[0]))
	}
}

func TestATokenInTheQueryIsTakenOutOfTheRequest(t *testing.T) {
	s, err := newLibrary(NewWork(50), Accepted)
	require.NoError(t, err)
	queries := s.Queries()
	assert.Len(t, queries, 50)
	c := queryClient(s.Handlers[Allowed])
	for range 2 { // the request of the client is as it was
		for _, uri := range queries {
			require.Equal(t, http.StatusOK, c(uri))
		}
	}
	assert.Equal(t, http.StatusUnauthorized, c("/?page=2"))
	assert.NoError(t, s.Close())
}

// TestTheFloorIsTheFloor holds the floor to what a floor may cost: it would be no
// use to be as fast as something slow. That it takes at most 40 times as long as
// the bare handler is for the report to show.
func TestTheFloorIsTheFloor(t *testing.T) {
	for _, c := range []struct {
		name        string
		allocations uint64
		bytes       uint64
	}{{"bare", 0, 0}, {"floor", 2, 352}, {"floor-typed", 0, 0}} {
		i, ok := ByName(c.name)
		require.True(t, ok)
		s, err := i.New(NewWork(50), Accepted)
		require.NoError(t, err)
		client, value := s.Client(Allowed), s.Scheme+" "+s.Tokens[0]
		require.Equal(t, http.StatusOK, client(value))
		allocations, bytes := allocated.Per(1000, func() { client(value) })
		assert.Equal(t, c.allocations, allocations, c.name)
		assert.LessOrEqual(t, bytes, c.bytes, c.name)
	}
}
