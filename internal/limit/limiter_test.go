package limit_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/limit"
)

// A window of a model is what the requirement says: in each at most burst + t/every.
type model struct {
	every    time.Duration
	burst    int
	admitted []time.Duration
	windows  int // checked
}

// allows reports whether all windows that end at a moment have room for one more.
func (m *model) allows(now time.Duration) bool {
	for i := range m.admitted {
		m.windows++
		n := len(m.admitted) - i + 1
		if time.Duration(n)*m.every > time.Duration(m.burst)*m.every+now-m.admitted[i] {
			return false
		}
	}
	return true
}

func (m *model) admit(now time.Duration) {
	m.admitted = append(m.admitted, now)
}

func demand(id string, l limit.Limit) *limit.Demands {
	return &limit.Demands{{Key: limit.Key{ID: id}, Rate: l.Rate()}, {}}
}

func TestOneNodeAdmitsExactlyWhatEveryWindowHasRoomFor(t *testing.T) {
	windows, refused := 0, 0
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		l := limit.Limit{Requests: 1 + random.IntN(50), Per: time.Duration(1+random.IntN(3)) * time.Second, Burst: 1 + random.IntN(30)}
		n := time.Duration(l.Requests)
		m := model{every: (l.Per + n - 1) / n, burst: l.Burst}
		limiter := limit.New(nil, nil, 0)
		var now time.Duration
		for range 1500 {
			// Mostly crowded, sometimes a pause; also several at one moment.
			switch random.IntN(20) {
			case 0:
				now += time.Duration(random.Int64N(int64(2 * time.Second)))
			case 1, 2, 3:
			default:
				now += time.Duration(random.Int64N(int64(m.every)))
			}
			want := m.allows(now)
			s, admitted := limiter.Admit(now, demand("one", l))
			require.Equal(t, want, admitted, "seed %d at %s", seed, now)
			if want {
				m.admit(now)
				assert.Zero(t, s.RetryAfter())
			} else {
				refused++
				require.NotZero(t, s.RetryAfter())
			}
		}
		windows += m.windows
	}
	t.Logf("%d windows, %d requests refused", windows, refused)
	assert.Greater(t, windows, 1_000_000)
	assert.Greater(t, refused, 1000)
}

func TestARefusedRequestIsAdmittedAfterTheTimeThatItIsToldAndTakesNothing(t *testing.T) {
	l := limit.Limit{Requests: 1, Per: 10 * time.Second, Burst: 2}
	limiter := limit.New(nil, nil, 0)
	at := func(now time.Duration) (bool, time.Duration) {
		s, admitted := limiter.Admit(now, demand("one", l))
		return admitted, s.RetryAfter()
	}
	for range 2 {
		ok, _ := at(0)
		require.True(t, ok)
	}
	for range 100 {
		ok, retry := at(500 * time.Millisecond)
		require.False(t, ok)
		require.Equal(t, 10*time.Second, retry, "rounded up")
	}
	ok, _ := at(10 * time.Second)
	assert.True(t, ok, "100 that were refused took nothing")
}

func TestARequestThatOneOfItsLimitsRefusesTakesNothingFromTheOther(t *testing.T) {
	limiter := limit.New(nil, nil, 0)
	d := limit.Demands{
		{Key: limit.Key{ID: "one"}, Rate: limit.Limit{Requests: 1, Per: time.Hour, Burst: 1}.Rate()},
		{Key: limit.Key{Environment: "production", Owner: "ada"}, Rate: limit.Limit{Requests: 1, Per: time.Hour, Burst: 3}.Rate()},
	}
	require.True(t, limiter.Admits(0, &d))
	for range 9 {
		require.False(t, limiter.Admits(0, &d), "the token has used up its limit")
	}
	d[0].Key.ID = "two"
	require.True(t, limiter.Admits(0, &d))
	d[0].Key.ID = "three"
	s, admitted := limiter.Admit(0, &d)
	require.True(t, admitted)
	policy, left := s.Fields()
	assert.Equal(t, `"token";q=1;w=3600, "owner";q=3;w=10800`, policy)
	assert.Equal(t, `"token";r=0;t=3600, "owner";r=0;t=10800`, left)
	d[0].Key.ID = "four"
	require.False(t, limiter.Admits(0, &d), "the owner has")
	d[1] = limit.Demand{}
	require.True(t, limiter.Admits(0, &d), "which took nothing from the token")
	d[1] = limit.Demand{Key: limit.Key{Environment: "staging", Owner: "ada"}, Rate: limit.Limit{Requests: 1, Per: time.Hour}.Rate()}
	d[0] = limit.Demand{}
	require.True(t, limiter.Admits(0, &d), "an owner of another environment is another one")
}

func TestManyRequestsAtOnceGetAsManyAsOneAfterTheOther(t *testing.T) {
	limiter := limit.New(nil, nil, 0)
	l := limit.Limit{Requests: 1, Per: time.Hour, Burst: 500}
	var wg sync.WaitGroup
	admitted := make([]int, 8)
	for i := range admitted {
		wg.Go(func() {
			for j := range 200 {
				d := limit.Demands{
					{Key: limit.Key{ID: string(rune('a' + (i+j)%7))}, Rate: limit.Limit{Requests: 1, Per: time.Hour, Burst: 1000}.Rate()},
					{Key: limit.Key{Environment: "production", Owner: "ada"}, Rate: l.Rate()},
				}
				if limiter.Admits(0, &d) {
					admitted[i]++
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range admitted {
		sum += n
	}
	assert.Equal(t, 500, sum)
}

func TestWhatHasItsWholeLimitBackIsForgotten(t *testing.T) {
	limiter := limit.New(nil, nil, 0)
	l := limit.Limit{Requests: 10, Per: time.Second, Burst: 10}
	ids := make([]string, 100_000)
	for i := range ids {
		ids[i] = string(binary(i))
	}
	for _, id := range ids {
		require.True(t, limiter.Admits(0, demand(id, l)))
	}
	require.Equal(t, len(ids), limiter.Len())
	// A request of each shard forgets what is idle there.
	for _, id := range ids[:5000] {
		require.True(t, limiter.Admits(2*time.Minute, demand(id, l)))
	}
	assert.Equal(t, 5000, limiter.Len())
}

func binary(i int) []byte { return []byte{byte(i), byte(i >> 8), byte(i >> 16)} }

func TestTextsOfLimitsAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]limit.Limit{
		"":          {},
		"100/1m":    {Requests: 100, Per: time.Minute},
		"5000/1h/7": {Requests: 5000, Per: time.Hour, Burst: 7},
		"1/1.5s":    {Requests: 1, Per: 1500 * time.Millisecond},
	} {
		l, err := limit.Parse(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, l)
		assert.Equal(t, text, l.String())
	}
	l, err := limit.Parse("10/s")
	require.NoError(t, err)
	assert.Equal(t, limit.Limit{Requests: 10, Per: time.Second}, l)
	for _, text := range []string{"10", "10/", "/s", "0/s", "-1/s", "10/0s", "10/s/-1", "10/s/x", "10/s/1/1", "0/0s", "1/9000h", "2000000000/s", "10/1us", "1/8000h/2", "1/s/2000000000"} {
		_, err := limit.Parse(text)
		assert.Error(t, err, text)
	}
}

func TestALimitIsWithinAnotherIfItHasNeitherMoreRateNorMoreBurst(t *testing.T) {
	limits := []string{"", "10/s", "10/s/20", "20/s", "600/m", "600/m/5", "1/s/20"}
	within := map[string][]string{
		"10/s": {"10/s", "10/s/20", "20/s", "600/m"}, "10/s/20": {"10/s/20", "20/s"}, "20/s": {"20/s"},
		"600/m": {"10/s", "10/s/20", "20/s", "600/m"}, "600/m/5": {"10/s", "10/s/20", "20/s", "600/m", "600/m/5"},
		"1/s/20": {"10/s/20", "20/s", "1/s/20"},
	}
	for _, a := range limits {
		for _, b := range limits {
			l, _ := limit.Parse(a)
			other, _ := limit.Parse(b)
			assert.Equal(t, b == "" || slices.Contains(within[a], b), l.Within(other), "%s in %s", a, b)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	start := time.Now()
	l := limit.Limit{Requests: 1e9, Per: time.Second, Burst: 1e9}
	ids := make([]string, 100_000)
	for i := range ids {
		ids[i] = string(binary(i)) + "-23456789012345"
	}
	for _, c := range []struct {
		name string
		n    int
	}{{"token of 200", 200}, {"token of 100000", len(ids)}} {
		b.Run(c.name, func(b *testing.B) {
			limiter := limit.New(nil, nil, 0)
			b.ReportAllocs()
			for i := range b.N {
				d := limit.Demands{{Key: limit.Key{ID: ids[i%c.n]}, Rate: l.Rate()}}
				limiter.Admit(time.Since(start), &d)
			}
		})
	}
	b.Run("token and owner", func(b *testing.B) {
		limiter := limit.New(nil, nil, 0)
		for i := range b.N {
			d := limit.Demands{{Key: limit.Key{ID: ids[i%200]}, Rate: l.Rate()}, {Key: limit.Key{Environment: "production", Owner: "ada"}, Rate: l.Rate()}}
			limiter.Admit(time.Since(start), &d)
		}
	})
}
