package reward_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
)

func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(name string, d time.Duration, v float64) reward.Func {
			return reward.Named(name, func(context.Context, reward.Sample) (reward.Score, error) {
				time.Sleep(d)
				return reward.Scored(v), nil
			})
		}
		broken := func(context.Context, reward.Sample) (reward.Score, error) { panic("x") }
		start := time.Now()
		r := reward.Evaluate(context.Background(), reward.Parallel(slow("a", 3*time.Second, 1), slow("b", 2*time.Second, 2), broken), reward.Sample{})
		require.Equal(t, 3*time.Second, time.Since(start))
		v, ok := r.Score.Value()
		require.True(t, ok)
		require.Equal(t, 3.0, v)
		require.ErrorIs(t, r.Err, reward.ErrPanic)
		require.Equal(t, []reward.Part{{Name: "a", Score: reward.Scored(1)}, {Name: "b", Score: reward.Scored(2)}}, r.Parts)
	})
}

// F13: a function that hangs costs its limit, not more, and never more than its batch has.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hangs := reward.Timeout(time.Second, func(context.Context, reward.Sample) (reward.Score, error) { <-release; return reward.Scored(1), nil })
		for _, c := range []struct{ batch, want time.Duration }{{time.Hour, time.Second}, {time.Second / 2, time.Second / 2}} {
			ctx, cancel := context.WithTimeout(context.Background(), c.batch)
			start := time.Now()
			r := reward.Evaluate(ctx, reward.Named("hangs", hangs), reward.Sample{})
			require.Equal(t, c.want, time.Since(start))
			require.ErrorIs(t, r.Err, context.DeadlineExceeded)
			_, ok := r.Score.Value()
			require.False(t, ok)
			cancel()
		}
		for range 100 { // the goroutines left behind are bounded
			reward.Evaluate(context.Background(), hangs, reward.Sample{})
		}
		r := reward.Evaluate(context.Background(), hangs, reward.Sample{})
		require.ErrorContains(t, r.Err, "64 calls run past their limit")
		close(release)
		synctest.Wait()
		require.Equal(t, 1.0, score(t, hangs, reward.Sample{}), "they came back")
		require.Equal(t, 1.0, score(t, reward.Timeout(time.Second, constant(1)), reward.Sample{}))
		require.Error(t, reward.Evaluate(context.Background(), reward.Timeout(0, constant(1)), reward.Sample{}).Err)
	})
}

// Many samples at once within their limit are not mistaken for abandoned ones.
func TestTimeoutManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := reward.Timeout(time.Second, func(context.Context, reward.Sample) (reward.Score, error) {
			time.Sleep(time.Second / 2)
			return reward.Scored(1), nil
		})
		var scored atomic.Int64
		for range 500 {
			go func() {
				if _, ok := reward.Evaluate(context.Background(), f, reward.Sample{}).Score.Value(); ok {
					scored.Add(1)
				}
			}()
		}
		time.Sleep(2 * time.Second)
		require.EqualValues(t, 500, scored.Load())
	})
}

func TestCache(t *testing.T) {
	calls := 0
	f := reward.Cache(2, reward.Named("f", func(_ context.Context, s reward.Sample) (reward.Score, error) {
		calls++
		if s.Completion == "bad" {
			return reward.Score{}, errors.New("down")
		}
		return reward.Scored(float64(len(s.Completion))), nil
	}))
	ask := func(s reward.Sample) reward.Result { return reward.Evaluate(context.Background(), f, s) }
	a, b, c := reward.Sample{Completion: "a"}, reward.Sample{Completion: "bb"}, reward.Sample{Completion: "ccc"}
	for _, step := range []struct {
		s     reward.Sample
		calls int
	}{{a, 1}, {a, 1}, {b, 2}, {a, 2}, {c, 3}, {b, 3}, {a, 4}, {c, 4}, {b, 5}} {
		r := ask(step.s)
		require.Equal(t, step.calls, calls)
		v, _ := r.Score.Value()
		require.Equal(t, float64(len(step.s.Completion)), v)
		require.Equal(t, []reward.Part{{Name: "f", Score: reward.Scored(v)}}, r.Parts, "a remembered score has its parts")
	}
	for range 2 { // what failed is asked again
		require.Error(t, ask(reward.Sample{Completion: "bad"}).Err)
	}
	require.Equal(t, 7, calls)
	// everything that the function can see tells samples apart
	calls = 0
	f = reward.Cache(100, func(context.Context, reward.Sample) (reward.Score, error) { calls++; return reward.Scored(1), nil })
	different := []reward.Sample{
		{}, {Completion: "x"}, {Truncated: true}, {Tokens: []int32{1}}, {Tokens: []int32{1, 2}}, {Problem: reward.Problem{ID: "x"}}, {Problem: reward.Problem{Prompt: "x"}},
		{Problem: reward.Problem{Answer: "x"}}, {Problem: reward.Problem{Columns: map[string]any{"x": 1}}}, {Problem: reward.Problem{Columns: map[string]any{"x": "1"}}},
		{Problem: reward.Problem{ID: `x" "y`}}, {Problem: reward.Problem{ID: "x", Prompt: "y"}},
	}
	for range 2 {
		for _, s := range different {
			ask(s)
		}
	}
	require.Equal(t, len(different), calls)
	require.Error(t, reward.Evaluate(context.Background(), reward.Cache(0, constant(1)), a).Err)
}

// F12: one call in seven panics; as many samples are masked, and nothing else.
func TestPanicsAreCounted(t *testing.T) {
	tally := reward.Tally{}
	for i := range 1000 {
		f := reward.Sum(reward.Named("sometimes", func(context.Context, reward.Sample) (reward.Score, error) {
			if i%7 == 0 {
				panic(fmt.Sprint("call ", i))
			}
			return reward.Scored(1), nil
		}), reward.Named("always", constant(1)))
		tally.Add(reward.Evaluate(context.Background(), f, reward.Sample{}).Parts)
	}
	require.Equal(t, reward.Tally{"sometimes": {Scored: 857, Unscored: 143, Panicked: 143}, "always": {Scored: 1000}}, tally)
}
