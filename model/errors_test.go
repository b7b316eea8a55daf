package model_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// Bad arguments are errors that say what was wrong, never a crash and never numbers.
func TestCallErrors(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 1)
	require.NoError(t, err)
	defer m.Close()
	cache, err := m.NewCache(256)
	require.NoError(t, err)
	defer cache.Close()
	closed, err := m.NewCache(16)
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	score := func(ids []int32, rows, targets []int32, temperature float32) func(s *kernels.Scope) {
		return func(s *kernels.Scope) { m.LogProbs(s, ids, kernels.PackedSegs(len(ids)), rows, targets, temperature) }
	}
	forward := func(ids []int32, segs kernels.Segs) func(s *kernels.Scope) {
		return func(s *kernels.Scope) { m.Forward(s, ids, segs) }
	}
	two := []int32{1, 2}
	for name, c := range map[string]struct {
		call func(s *kernels.Scope)
		says string
	}{
		"parent past the end": {forward(two, kernels.Segs{{Start: 0, Len: 1, Parent: -1}, {Start: 1, Len: 1, Parent: 5}}), "parent 5"},
		"length negative":     {forward(two, kernels.Segs{{Start: 0, Len: -1, Parent: -1}, {Start: 0, Len: 2, Parent: -1}}), "-1 rows"},
		"hole":                {forward(two, kernels.Segs{{Start: 1, Len: 1, Parent: -1}}), "starts at row 1"},
		"ids and segs":        {forward(two, kernels.PackedSegs(3)), "2 ids for segs of 3 rows"},
		"id past the end":     {forward([]int32{1, 64}, kernels.PackedSegs(2)), "id 64 at 1"},
		"id negative":         {forward([]int32{-1, 1}, kernels.PackedSegs(2)), "id -1 at 0"},
		"too long":            {forward(make([]int32, 129), kernels.PackedSegs(129)), "position 128"},
		"too long, by parent": {forward(make([]int32, 129), kernels.Segs{{Start: 0, Len: 100, Parent: -1}, {Start: 100, Len: 29, Parent: 0}}), "position 128"},
		"row":                 {score(two, []int32{2}, []int32{1}, 1), "id 2 at 0"},
		"target":              {score(two, []int32{0}, []int32{64}, 1), "id 64 at 0"},
		"rows and targets":    {score(two, []int32{0}, two, 1), "2 targets"},
		"temperature 0":       {score(two, []int32{0}, []int32{1}, 0), "temperature is 0"},
		"temperature below 0": {score(two, []int32{0}, []int32{1}, -1), "temperature is -1"},
		"lists and sequences": {func(s *kernels.Scope) { cache.Extend(s, []*model.Seq{cache.NewSeq()}, nil) }, "0 lists of ids for 1 sequences"},
		"cached too long":     {func(s *kernels.Scope) { cache.Extend(s, []*model.Seq{cache.NewSeq()}, [][]int32{make([]int32, 129)}) }, "position 128"},
		"closed cache":        {func(s *kernels.Scope) { closed.Extend(s, []*model.Seq{closed.NewSeq()}, [][]int32{{1}}) }, "closed"},
		"fork past the end":   {func(s *kernels.Scope) { cache.Fork(s, cache.NewSeq(), 1) }, "fork at 1"},
		"cut past the end":    {func(s *kernels.Scope) { cache.Truncate(s, cache.NewSeq(), 1) }, "truncation at 1"},
	} {
		t.Run(name, func(t *testing.T) {
			err := dev.Do(t.Context(), func(s *kernels.Scope) error {
				c.call(s)
				return nil
			})
			require.ErrorContains(t, err, c.says)
		})
	}
	_, err = m.NewCache(-100)
	require.ErrorContains(t, err, "-100 positions")
}

// A name that is no folder is looked for by Options.Find; a folder never is.
func TestLoadFinds(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	defer dev.Close()
	m, err := model.Tiny(dev, 1)
	require.NoError(t, err)
	defer m.Close()
	dir := t.TempDir()
	require.NoError(t, m.Save(dir))
	asked := ""
	find := model.Options{Find: func(name string) (string, error) {
		if asked = name; name == "org/tiny" {
			return dir, nil
		}
		return "", errors.New("no such model")
	}}
	for _, name := range []string{"org/tiny", dir} {
		asked = ""
		got, err := model.Load(dev, name, find)
		require.NoError(t, err)
		require.NoError(t, got.Close())
		require.Equal(t, name == "org/tiny", asked != "")
	}
	_, err = model.Load(dev, "org/other", find)
	require.ErrorContains(t, err, "org/other: no such model")
	_, err = model.Load(dev, "org/tiny", model.Options{})
	require.ErrorContains(t, err, "no such file")
}
