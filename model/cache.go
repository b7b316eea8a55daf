package model

import (
	"errors"
	"fmt"

	"github.com/gor1/gor1/kernels"
)

// PageRows is how many positions one page of a cache holds.
const PageRows = 16

// Cache holds keys and values of many sequences in pages. Pages of a common prefix are shared between forks. It belongs to
// one goroutine.
type Cache struct {
	m    *LM
	k, v []*kernels.Tensor // one a layer: [pages, PageRows, G, d]
	free []int32
	refs []int32 // users of each page
}

// Seq is one sequence in a cache.
type Seq struct {
	pages []int32
	n     int
}

// Len is the number of cached positions.
func (q *Seq) Len() int { return q.n }

// ErrCacheFull is wrapped by the error of a call that needs more pages than are free.
var ErrCacheFull = errors.New("no free pages")

// NewCache returns a cache of as many pages as positions need. Close frees it.
func (m *LM) NewCache(positions int) (*Cache, error) {
	if positions < 1 {
		return nil, fmt.Errorf("model: cache of %d positions: want at least 1", positions)
	}
	pages := (positions + PageRows - 1) / PageRows
	c := &Cache{m: m, refs: make([]int32, pages)}
	for i := pages - 1; i >= 0; i-- {
		c.free = append(c.free, int32(i))
	}
	for range m.layers {
		for _, list := range []*[]*kernels.Tensor{&c.k, &c.v} {
			t, err := m.dev.NewBuffer(m.pageType(), pages, PageRows, m.config.KVHeads, m.config.HeadDim)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("model: cache of %d positions: %w", positions, err), c.Close())
			}
			*list = append(*list, t)
		}
	}
	return c, nil
}

// pageType is bf16 where keys and values are rounded to it and the device takes such pages: no bit is lost.
func (m *LM) pageType() kernels.DType {
	if m.bf16 && m.dev.PagesBF16() {
		return kernels.BF16
	}
	return kernels.F32
}

// Close frees the cache's memory.
func (c *Cache) Close() error {
	var errs []error
	for _, t := range append(c.k, c.v...) {
		errs = append(errs, t.Free())
	}
	c.k, c.v = nil, nil
	return errors.Join(errs...)
}

// FreePages is how many pages are unused.
func (c *Cache) FreePages() int { return len(c.free) }

// Usage is how many different positions the given sequences hold, what forks share counted once, and how many the pages have that they are in:
// the difference is memory taken and not used.
func (c *Cache) Usage(seqs []*Seq) (held, room int) {
	most := map[int32]int{}
	for _, q := range seqs {
		for i, p := range q.pages {
			most[p] = max(most[p], min(PageRows, q.n-i*PageRows))
		}
	}
	for _, n := range most {
		held += n
	}
	return held, PageRows * len(most)
}

// NewSeq returns an empty sequence.
func (c *Cache) NewSeq() *Seq { return &Seq{} }

// Drop gives a sequence's pages back.
func (c *Cache) Drop(q *Seq) {
	for _, p := range q.pages {
		if c.refs[p]--; c.refs[p] == 0 {
			c.free = append(c.free, p)
		}
	}
	q.pages, q.n = nil, 0
}

// Fork returns a new sequence that begins with q's first n positions. Whole pages are shared; a page that is only partly
// taken is copied, so neither sequence sees what the other adds.
func (c *Cache) Fork(s *kernels.Scope, q *Seq, n int) *Seq {
	if n < 0 || n > q.n {
		s.Fail(fmt.Errorf("model: fork at %d of a sequence of %d positions", n, q.n))
		return &Seq{}
	}
	whole := n / PageRows
	f := &Seq{pages: append([]int32(nil), q.pages[:whole]...), n: n}
	for _, p := range f.pages {
		c.refs[p]++
	}
	if n%PageRows == 0 {
		return f
	}
	page, ok := c.take()
	if !ok {
		s.Fail(fmt.Errorf("model: fork: %w", ErrCacheFull))
		c.Drop(f)
		return f
	}
	f.pages = append(f.pages, page)
	for _, t := range append(append([]*kernels.Tensor(nil), c.k...), c.v...) {
		s.CopyTo(s.Rows(t, int(page), 1), s.Rows(t, int(q.pages[whole]), 1))
	}
	return f
}

// Truncate forgets what q holds from position n on and gives the pages of that back, so that other tokens can follow. A page that is kept in
// part and shared with forks is copied first, so none of them sees what q adds: that needs a free page.
func (c *Cache) Truncate(s *kernels.Scope, q *Seq, n int) {
	if n < 0 || n > q.n {
		s.Fail(fmt.Errorf("model: truncation at %d of a sequence of %d positions", n, q.n))
		return
	}
	if whole := n / PageRows; n%PageRows != 0 && c.refs[q.pages[whole]] > 1 {
		f := c.Fork(s, q, n)
		if f.n == n { // else there was no page for it, and q stays as it is
			c.Drop(q)
			*q = *f
		}
		return
	}
	keep := (n + PageRows - 1) / PageRows
	rest := Seq{pages: q.pages[keep:]}
	q.pages, q.n = q.pages[:keep], n
	c.Drop(&rest)
}

func (c *Cache) take() (int32, bool) {
	if len(c.free) == 0 {
		return 0, false
	}
	p := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	c.refs[p] = 1
	return p, true
}

// Extend runs new tokens of several sequences, ids[i] after what seqs[i] holds, and returns the hidden rows of all of them
// end to end, [T, D]: decoding with one id each, prefill and chunked prefill with many. Equal bits to [LM.Forward]'s. Where
// the cache has too few pages nothing changes, and the error wraps [ErrCacheFull].
func (c *Cache) Extend(s *kernels.Scope, seqs []*Seq, ids [][]int32) *kernels.Tensor {
	none := func(err error) *kernels.Tensor {
		s.Fail(fmt.Errorf("model: extend: %w", err))
		return s.Zeros(0, c.m.config.HiddenSize)
	}
	switch need := 0; {
	case c.k == nil:
		return none(errors.New("the cache is closed"))
	case len(ids) != len(seqs):
		return none(fmt.Errorf("%d lists of ids for %d sequences", len(ids), len(seqs)))
	default:
		for i, q := range seqs {
			need += (q.n+len(ids[i])+PageRows-1)/PageRows - len(q.pages)
		}
		if need > len(c.free) {
			return none(fmt.Errorf("%w: %d are needed, %d of %d are free", ErrCacheFull, need, len(c.free), len(c.refs)))
		}
	}
	var flat, positions, slots, rows []int32
	width := 1
	for i, q := range seqs {
		for _, id := range ids[i] {
			if q.n == len(q.pages)*PageRows {
				page, _ := c.take()
				q.pages = append(q.pages, page)
			}
			flat, positions = append(flat, id), append(positions, int32(q.n))
			slots = append(slots, q.pages[q.n/PageRows]*PageRows+int32(q.n%PageRows))
			rows = append(rows, int32(i), int32(q.n))
			q.n++
		}
		width = max(width, len(q.pages))
	}
	table := make([]int32, len(seqs)*width)
	for i, q := range seqs {
		copy(table[i*width:], q.pages)
	}
	s = s.NoGrad()
	tableT := s.FromI32(table, len(seqs), width)
	run := func(s *kernels.Scope, lo, hi int) *kernels.Tensor { // rows lo to hi
		slotT, rowT := s.FromI32(slots[lo:hi]), s.FromI32(rows[2*lo:2*hi], hi-lo, 2)
		return c.m.run(s, c.m.embedding(s, flat[lo:hi]), positions[lo:hi], func(s *kernels.Scope, l int, q, k, v *kernels.Tensor) *kernels.Tensor {
			s.KVWrite(c.k[l], c.v[l], k, v, slotT)
			return s.PagedAttention(q, c.k[l], c.v[l], tableT, rowT, c.m.layers[l].attn)
		})
	}
	if cuts := c.m.lanes(ids); len(cuts) > 2 {
		out := s.Zeros(len(flat), c.m.config.HiddenSize)
		s.Lanes(len(cuts)-1, func(lane int, s *kernels.Scope) error {
			lo, hi := cuts[lane], cuts[lane+1]
			s.CopyTo(s.Rows(out, lo, hi-lo), run(s, lo, hi))
			return nil
		})
		return out
	}
	out := s.Sub(func(s *kernels.Scope) []*kernels.Tensor { return []*kernels.Tensor{run(s, 0, len(flat))} })
	if len(out) == 0 {
		return s.Zeros(0, c.m.config.HiddenSize)
	}
	return out[0]
}

// laneParams is up to what size of model each thread runs sequences of its own: the weights are in every core's reach, and sharing each of
// a hundred small operations a token would take longer than doing them.
const laneParams = 8 << 20

// lanes are the rows at which the lists of ids are cut into lanes, each about as long; fewer than two lanes: nothing is cut.
func (m *LM) lanes(ids [][]int32) (cuts []int) {
	n := min(m.dev.Lanes(), len(ids))
	if n < 2 || m.config.ParamCount() > laneParams {
		return nil
	}
	total := 0
	for _, list := range ids {
		total += len(list)
	}
	cuts, at := []int{0}, 0
	for _, list := range ids {
		if at += len(list); at >= total*len(cuts)/n && at > cuts[len(cuts)-1] {
			cuts = append(cuts, at)
		}
	}
	return cuts
}
