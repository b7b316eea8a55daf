package data

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// numbered is a table of n rows {"n": 0}, {"n": 1}, ...
func numbered(n int) Table {
	t := make(Table, n)
	for i := range t {
		t[i] = Row{Fields: Object{{"n", int64(i)}}, Place: Place{"numbers", 0, int64(i + 1)}}
	}
	return t
}

// take reads n rows from a cursor.
func take(t testing.TB, s Stream, from Cursor, n int) Table {
	var rows Table
	for r, err := range s.Rows(context.Background(), from) {
		require.NoError(t, err)
		rows = append(rows, r)
		if len(rows) == n {
			break
		}
	}
	return rows
}

func ns(t testing.TB, rows Table) []int64 {
	out := make([]int64, len(rows))
	for i, r := range rows {
		n, err := r.Int("n")
		require.NoError(t, err)
		out[i] = n
	}
	return out
}

func linesOf(t testing.TB, n int) *Dataset {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"n\":%d}\n", i)
	}
	return open(t, write(t, "n.jsonl", b.String()), Options{})
}

func TestRepeat(t *testing.T) {
	s := Repeat(linesOf(t, 3), 2)
	require.Equal(t, []int64{0, 1, 2, 0, 1, 2}, ns(t, readAll(t, s)))
	requireResumes(t, "repeat", s)
	endless := Repeat(linesOf(t, 3), 0)
	first := take(t, endless, Cursor{}, 10)
	require.Equal(t, ns(t, first)[4:], ns(t, take(t, endless, first[3].Next, 6)))
	nothing := Map(linesOf(t, 3), func(r Row) (Row, error) { return r, ErrDrop })
	for _, err := range Repeat(nothing, 0).Rows(context.Background(), Cursor{}) {
		require.ErrorContains(t, err, "gave no rows")
	}
}

// Each epoch has every row once, in another order; the order depends on the seed alone.
func TestShuffle(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 16, 17, 100, 1000} {
		s := Shuffle(numbered(n), 7, 3)
		all := ns(t, readAll(t, s))
		require.Len(t, all, 3*n)
		for epoch := range 3 {
			seen := map[int64]bool{}
			for _, v := range all[epoch*n : (epoch+1)*n] {
				seen[v] = true
			}
			require.Len(t, seen, n)
		}
		if n >= 16 {
			require.NotEqual(t, all[:n], all[n:2*n])
			require.NotEqual(t, all, ns(t, readAll(t, Shuffle(numbered(n), 8, 3))))
		}
		if n <= 17 {
			requireResumes(t, "shuffle", s)
		}
	}
	require.Equal(t, []int64{3, 1, 4, 0, 5, 2, 6, 7}, ns(t, take(t, Shuffle(numbered(8), 1, 0), Cursor{}, 8)), "the order of a seed is part of the contract")
}

// Over 40,000 seeds each of 6 rows comes equally often to each place, and all 720 orders occur about as often as they should:
// chi-squared with 25 and 719 degrees of freedom, at 5 standard deviations.
func TestShuffleIsFair(t *testing.T) {
	const n, seeds = 6, 40_000
	var at [n][n]int
	orders := map[[n]uint64]int{}
	for seed := range uint64(seeds) {
		p := newPermutation(seed, 0, n)
		var order [n]uint64
		for i := range order {
			order[i] = p.at(uint64(i))
			at[i][order[i]]++
		}
		orders[order]++
	}
	chi := 0.0
	for i := range n {
		for j := range n {
			d := float64(at[i][j]) - seeds/n
			chi += d * d / (seeds / n)
		}
	}
	require.Less(t, chi, 25+5*math.Sqrt(50), "places")
	require.Len(t, orders, 720)
	chi = 0
	for _, c := range orders {
		d := float64(c) - seeds/720.0
		chi += d * d / (seeds / 720.0)
	}
	require.Less(t, chi, 719+5*math.Sqrt(2*719), "orders")
}

func TestIndex(t *testing.T) {
	d := open(t, write(t, "n.jsonl", "\ufeff{\"n\":0}\r\n\n{\"n\":1}\n{\"n\":2}"), Options{})
	x, err := NewIndex(context.Background(), d)
	require.NoError(t, err)
	require.Equal(t, 3, x.Len())
	want := readAll(t, d)
	for i := range want {
		row, err := x.At(i)
		require.NoError(t, err)
		require.Equal(t, want[i], row)
	}
	require.Equal(t, ns(t, readAll(t, Shuffle(want, 3, 2))), ns(t, readAll(t, Shuffle(x, 3, 2))))
	_, err = NewIndex(context.Background(), open(t, "testdata/gsm8k.jsonl.gz", Options{}))
	require.ErrorContains(t, err, "only plain .jsonl can be indexed")
}

// Rows come in proportion to the weights, every row of a finite part once, and the rest after a cursor is the same.
func TestMix(t *testing.T) {
	named := func(name string, n int) Stream {
		return Map(linesOf(t, n), func(r Row) (Row, error) {
			r.Fields = append(Object{{"from", name}}, r.Fields...)
			return r, nil
		})
	}
	finite := Mix(5, Part{named("a", 5), 1}, Part{named("b", 30), 3}, Part{named("c", 1), 0.5})
	all := readAll(t, finite)
	require.Len(t, all, 36)
	requireResumes(t, "mix", finite)
	requireResumes(t, "a heavy part that ends", Mix(9, Part{named("a", 2), 9}, Part{named("b", 40), 1}, Part{named("c", 40), 1}))
	endless := Mix(5, Part{Repeat(named("a", 5), 0), 1}, Part{Shuffle(numbered(7), 1, 0), 3})
	first := take(t, endless, Cursor{}, 4000)
	a := 0
	for _, r := range first {
		if r.Has("from") {
			a++
		}
	}
	require.InDelta(t, 1000, a, 5*math.Sqrt(4000*0.25*0.75), "a quarter, at 5 standard deviations")
	require.Equal(t, first[3000:], take(t, endless, first[2999].Next, 1000))
	nested := Mix(1, Part{finite, 1}, Part{Repeat(Shuffle(numbered(3), 2, 1), 2), 1})
	requireResumes(t, "mix of mixes", nested)

	for _, bad := range []Stream{Mix(1), Mix(1, Part{finite, 0}), Mix(1, Part{finite, math.NaN()}), Mix(1, Part{finite, math.Inf(1)})} {
		for _, err := range bad.Rows(context.Background(), Cursor{}) {
			require.ErrorContains(t, err, "data: mix:")
		}
	}
	for _, err := range Mix(1, Part{finite, 1}).Rows(context.Background(), all[3].Next) {
		require.ErrorContains(t, err, "not one of a Mix of 1")
	}
	for _, err := range Shuffle(numbered(2), 1, 1).Rows(context.Background(), Cursor{Row: 3}) {
		require.ErrorContains(t, err, "not one of a Shuffle of 2 rows")
	}
}

// An error of a part ends the mixture, and is not lost.
func TestMixError(t *testing.T) {
	bad := open(t, write(t, "bad.jsonl", "{\"n\":1}\n{\"n\":\n"), Options{})
	var last error
	for _, err := range Mix(1, Part{bad, 1}, Part{Repeat(linesOf(t, 2), 0), 1}).Rows(context.Background(), Cursor{}) {
		last = err
	}
	require.ErrorContains(t, last, "bad.jsonl:2")
}

func TestMapAndRename(t *testing.T) {
	s := Map(open(t, "testdata/gsm8k.jsonl", Options{}), Rename(map[string]string{"question": "prompt"}))
	rows := readAll(t, s)
	require.Equal(t, []string{"prompt", "answer"}, rows[0].Fields.Names())
	requireResumes(t, "rename", s)
	odd := Map(linesOf(t, 9), func(r Row) (Row, error) {
		if n, err := r.Int("n"); err != nil || n%2 == 0 {
			return r, ErrDrop
		}
		return r, nil
	})
	require.Equal(t, []int64{1, 3, 5, 7}, ns(t, readAll(t, odd)))
	requireResumes(t, "drop", odd)
	swap := readAll(t, Map(open(t, "testdata/gsm8k.jsonl", Options{}), Rename(map[string]string{"question": "answer", "answer": "question"})))
	require.Equal(t, []string{"answer", "question"}, swap[0].Fields.Names())
	for names, says := range map[[2]string]string{
		{"nothing", "prompt"}:  `gsm8k.jsonl:1: field "nothing": is missing; the row has question, answer`,
		{"question", "answer"}: `the row would have two columns called "answer"`,
	} {
		_, err := ReadAll(context.Background(), Map(open(t, "testdata/gsm8k.jsonl", Options{}), Rename(map[string]string{names[0]: names[1]})), 0)
		require.ErrorContains(t, err, says)
	}
	_, err := ReadAll(context.Background(), linesOf(t, 3), 2)
	require.ErrorContains(t, err, "more than 2 rows")
}
