package kernels

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/gor1/gor1/kernels/internal/native"
)

// HeadOptions are the constants of the output head.
type HeadOptions struct {
	Temp    *Tensor // fp32 [T]: logits are divided by it; nil: 1
	SoftCap float32 // logits become cap tanh(logit/cap) before the temperature; 0: no cap
	// Keep restricts row t to the words Keep[t], ids ascending, its target among them, as a truncated sampler chose them: the
	// others have probability 0. nil: all words.
	Keep [][]int32
}

// Divergence says how two distributions p (the model at hand) and q (the other) are compared: 1, 0, or a weight between.
type Divergence float32

const (
	// ReverseKL is KL(p || q): in reinforcement learning the KL of the policy to its reference.
	ReverseKL Divergence = 1
	// ForwardKL is KL(q || p): what distillation from a teacher q usually takes.
	ForwardKL Divergence = 0
	// JSD is b KL(q || m) + (1-b) KL(p || m), m = b q + (1-b) p, at b = 0.5 (GKD, arXiv 2306.13649, eq. 1); any
	// Divergence(b) between 0 and 1 is allowed. Towards the ends it goes to 0, not to the KLs.
	JSD Divergence = 0.5
)

// HeadOther is the other model of [Scope.HeadKL]: hidden rows X [T, C] of the same tokens, head W [V, C] over the same words.
// No gradient flows to it.
type HeadOther struct {
	X, W       *Tensor
	SoftCap    float32
	Divergence Divergence
}

// Head is the fused output head: for hidden rows x [T, D] and w [V, D], the log-softmax of x wT at targets and the entropy
// of that distribution, both [T], in nats. The logits are never stored.
func (s *Scope) Head(x, w *Tensor, targets []int32, o HeadOptions) (logpT, entropyT *Tensor) {
	logpT, entropyT, _ = s.head("Head", x, w, targets, nil, o)
	return logpT, entropyT
}

// HeadKL is [Scope.Head] beside another model: it gives also the divergence of the two distributions over the whole vocabulary,
// exactly, not from the sampled token, [T] in nats, with its gradient in x and w. Temperature and kept words apply to both. The log-prob and
// the entropy are Head's bits. Nothing of size [T, V] is stored: the logits of both exist for a block of rows at a time.
func (s *Scope) HeadKL(x, w *Tensor, targets []int32, other HeadOther, o HeadOptions) (logpT, entropyT, klT *Tensor) {
	return s.head("HeadKL", x, w, targets, &other, o)
}

// headOp is one head at work: what its gradient needs again.
type headOp struct {
	name           string
	x, w           *Tensor
	here, there    native.HeadModel
	rows           native.HeadRows
	beta           float32
	plain          bool // without another model or kept words: the entries that every backend has
	logp, ent, kl  *Tensor
	lse, aux, temp *Tensor
	segs           Segs
}

func (s *Scope) head(name string, x, w *Tensor, targets []int32, other *HeadOther, o HeadOptions) (logpT, entropyT, klT *Tensor) {
	op := headOp{name: name, x: x, w: w, plain: other == nil && o.Keep == nil, temp: o.Temp, segs: s.segs}
	if !s.headFits(op, len(targets), other) || !s.headArgs(&op, targets, other, o) {
		return s.dead(), s.dead(), s.dead()
	}
	var err error
	if be := s.st.be; op.plain {
		err = be.Head(op.logp.n, op.ent.n, op.lse.n, x.n, op.here.W, op.here.Packed, op.rows.Target, op.rows.Temp, o.SoftCap)
	} else {
		err = be.HeadExt(op.logp.n, op.ent.n, op.lse.n, absent(op.kl), absent(op.aux), op.here, op.there, op.rows, op.beta)
	}
	if !s.did(name, err, x, w) {
		return s.dead(), s.dead(), s.dead()
	}
	if s.recording(x, w) {
		out := []*Tensor{op.logp, op.ent}
		if op.kl != nil {
			out = append(out, op.kl)
		}
		s.record(name, op.back, out...)
	}
	return op.logp, op.ent, op.kl
}

// headFits checks shapes.
func (s *Scope) headFits(op headOp, targets int, other *HeadOther) bool {
	x, w := op.x, op.w
	if !s.wantWeight(op.name, w, x, w) || (op.temp != nil && !s.want(op.name, op.temp)) || (other != nil && !s.wantWeight(op.name, other.W, other.X, other.W)) {
		return false
	}
	if x.n.ND != 2 || w.n.ND != 2 || x.Dim(1) != w.Dim(1) || targets != x.Dim(0) || (op.temp != nil && op.temp.Len() != x.Dim(0)) {
		s.fail(op.name, "x %s, w %s, %d targets, temperatures %s: want [T,D], [V,D], T, [T]", x, w, targets, op.temp)
		return false
	}
	if !s.inSequences(op.name, targets) {
		return false
	}
	if other == nil {
		return true
	}
	if other.X.n.ND != 2 || other.W.n.ND != 2 || other.X.Dim(0) != x.Dim(0) || other.W.Dim(0) != w.Dim(0) || other.X.Dim(1) != other.W.Dim(1) {
		s.fail(op.name, "the other model's x %s, w %s: want [T,C], [V,C] with T %d, V %d", other.X, other.W, x.Dim(0), w.Dim(0))
		return false
	}
	if !(other.Divergence >= 0 && other.Divergence <= 1) {
		s.fail(op.name, "divergence %g, want ForwardKL (0) to ReverseKL (1)", other.Divergence)
		return false
	}
	return true
}

// headArgs uploads the rows' arguments and allocates the results.
func (s *Scope) headArgs(op *headOp, targets []int32, other *HeadOther, o HeadOptions) bool {
	t := op.x.Dim(0)
	op.rows = native.HeadRows{Target: s.ids(op.name, targets, op.w.Dim(0)).n, Temp: absent(o.Temp)}
	if o.Keep != nil {
		at, ids, err := flatten(o.Keep, t)
		if err != nil {
			s.fail(op.name, "%w", err)
			return false
		}
		op.rows.KeepAt, op.rows.Keep = s.FromI32(at).n, s.FromI32(ids).n
	}
	op.logp, op.ent, op.lse = s.make(op.name, F32, t), s.make(op.name, F32, t), s.make(op.name, F32, t)
	if other != nil {
		op.kl, op.aux, op.beta = s.make(op.name, F32, t), s.make(op.name, F32, t, 2), float32(other.Divergence)
		w, packed, _ := s.weight(op.name, other.W, false)
		op.there = native.HeadModel{X: other.X.n, W: w, Packed: packed, SoftCap: other.SoftCap}
	}
	w, packed, _ := s.weight(op.name, op.w, false)
	op.here = native.HeadModel{X: op.x.n, W: w, Packed: packed, SoftCap: o.SoftCap}
	return s.Err() == nil
}

// back carries the gradients of the results to x and w.
func (op headOp) back(g *Scope) {
	dlogp, dkl, h := op.logp.grad, native.Tensor{}, op.here
	if dlogp == nil {
		dlogp = g.Zeros(op.logp.Len())
	}
	if op.kl != nil {
		dkl = absent(op.kl.grad)
	}
	dx := g.like(op.name, op.x)
	var ok bool
	if h.W, h.Packed, ok = g.weight(op.name, op.w, true); !ok || dx.dead || dlogp.dead {
		return
	}
	run := func(dw native.Tensor) {
		be, err := g.st.be, native.ErrAbsent
		if seg := g.sequences(op.name, op.segs); seg.P != nil {
			err = be.HeadGradSegs(dx.n, dw, dlogp.n, absent(op.ent.grad), dkl, op.ent.n, op.lse.n, absent(op.aux), h, op.there, op.rows, op.beta, seg)
		}
		switch {
		case !errors.Is(err, native.ErrAbsent):
		case op.plain:
			err = be.HeadGrad(dx.n, dw, dlogp.n, absent(op.ent.grad), op.ent.n, op.lse.n, h.X, h.W, h.Packed, op.rows.Target, op.rows.Temp, h.SoftCap)
		default:
			err = be.HeadExtGrad(dx.n, dw, dlogp.n, absent(op.ent.grad), dkl, op.ent.n, op.lse.n, absent(op.aux), h, op.there, op.rows, op.beta)
		}
		g.did(op.name, err, op.x, op.w)
	}
	if op.w.grads {
		g.into(op.w, func(acc *Tensor) { run(acc.n) })
	} else {
		run(native.Tensor{})
	}
	g.addGrad(op.x, dx)
}

// flatten lays the words of n rows end to end and says where each row's begin.
func flatten(keep [][]int32, n int) (at, ids []int32, err error) {
	if len(keep) != n {
		return nil, nil, fmt.Errorf("kept words of %d rows for %d", len(keep), n)
	}
	total := 0
	for _, words := range keep {
		total += len(words)
	}
	if total > 1<<31-1 {
		return nil, nil, fmt.Errorf("%d kept words in one call, want less than 2^31: take fewer rows", total)
	}
	at, ids = make([]int32, 1, n+1), make([]int32, 0, total)
	for _, words := range keep {
		ids = append(ids, words...)
		at = append(at, int32(len(ids)))
	}
	return at, ids, nil
}

// Truncation says which words a sampler chooses among, in this order: the TopK likeliest; of those the likeliest that together have
// TopP of their mass; of those the ones with at least MinP of the likeliest word's probability. Zeros (and TopP 1) leave all. Equally likely words
// go by id, the lower first.
type Truncation struct {
	TopK int
	TopP float32
	MinP float32
}

// Nothing reports that t leaves every word.
func (t Truncation) Nothing() bool { return t.TopK == 0 && (t.TopP == 0 || t.TopP == 1) && t.MinP == 0 }

// SampleOptions say how [Scope.SampleHead] draws.
type SampleOptions struct {
	Temp    []float32   // one a row; 0 takes the likeliest token; nil: 1
	Key     [2]uint32   // the run's seed
	Counter [][4]uint32 // one a row: step, dataset row, sample, position
	SoftCap float32     // as in HeadOptions
}

// SampleHead draws one token for each hidden row of x [B, D]: inverse CDF in float64 with the uniform [Uniform](Key,
// Counter[b]), so that a draw is a function of its counter alone. It returns the tokens (i32), and the log-prob and entropy
// that [Scope.Head] gives for them at the same temperature (at 1 for a row with temperature 0): equal bits. No gradient.
func (s *Scope) SampleHead(x, w *Tensor, o SampleOptions) (tokenB, logpB, entropyB *Tensor) {
	tokenB, logpB, entropyB, _ = s.sampleHead("SampleHead", x, w, o, nil)
	return tokenB, logpB, entropyB
}

// Kept is what truncation leaves of each row's words.
type Kept struct {
	Bits *Tensor // i32 [B, (V+31)/32]: the bit of each word that stays; [KeptWords] lists them
	Mass *Tensor // [B]: the probability that they had together
}

// SampleHeadKeep is [Scope.SampleHead] from truncated distributions, cuts[b] for row b (one with temperature 0 is not truncated). The
// log-prob and entropy are over the kept words: the bits [Scope.Head] gives with them as Keep.
func (s *Scope) SampleHeadKeep(x, w *Tensor, o SampleOptions, cuts []Truncation) (tokenB, logpB, entropyB *Tensor, kept Kept) {
	if s.Err() == nil && x != nil && x.n.ND == 2 && len(cuts) != x.Dim(0) {
		return s.fail("SampleHeadKeep", "%d truncations for x %s", len(cuts), x), s.dead(), s.dead(), Kept{s.dead(), s.dead()}
	}
	flat := make([]float32, 0, 3*len(cuts))
	for i, c := range cuts {
		if c.TopK < 0 || !(c.TopP >= 0 && c.TopP <= 1) || !(c.MinP >= 0 && c.MinP <= 1) {
			return s.fail("SampleHeadKeep", "row %d: top-k %d, top-p %g, min-p %g: want 0 or more, 0 to 1, 0 to 1", i, c.TopK, c.TopP, c.MinP), s.dead(), s.dead(), Kept{s.dead(), s.dead()}
		}
		flat = append(flat, float32(min(c.TopK, 1<<24)), c.TopP, c.MinP)
	}
	return s.sampleHead("SampleHeadKeep", x, w, o, flat)
}

func (s *Scope) sampleHead(name string, x, w *Tensor, o SampleOptions, cuts []float32) (tokenB, logpB, entropyB *Tensor, kept Kept) {
	dead := func() (a, b, c *Tensor, k Kept) { return s.dead(), s.dead(), s.dead(), Kept{s.dead(), s.dead()} }
	if !s.wantWeight(name, w, x, w) {
		return dead()
	}
	b := x.Dim(0)
	if x.n.ND != 2 || w.n.ND != 2 || x.Dim(1) != w.Dim(1) || len(o.Counter) != b || (o.Temp != nil && len(o.Temp) != b) {
		s.fail(name, "x %s, w %s, %d counters, %d temperatures: want [B,D], [V,D], B, B or none", x, w, len(o.Counter), len(o.Temp))
		return dead()
	}
	for i, t := range o.Temp {
		if !(t >= 0) {
			s.fail(name, "row %d: temperature %g, want 0 or more", i, t)
			return dead()
		}
	}
	counter := make([]int32, 0, 4*b)
	for _, c := range o.Counter {
		counter = append(counter, int32(c[0]), int32(c[1]), int32(c[2]), int32(c[3]))
	}
	count, key := s.FromI32(counter, b, 4), s.FromI32([]int32{int32(o.Key[0]), int32(o.Key[1])})
	var temp *Tensor
	if o.Temp != nil {
		temp = s.FromF32(o.Temp)
	}
	token, logp, ent := s.make(name, I32, b), s.make(name, F32, b), s.make(name, F32, b)
	own, packed, ok := s.weight(name, w, false)
	if s.Err() != nil || !ok {
		return dead()
	}
	be := s.st.be
	if cuts == nil {
		if !s.did(name, be.HeadSample(token.n, logp.n, ent.n, x.n, own, packed, absent(temp), count.n, key.n, o.SoftCap), x, w) {
			return dead()
		}
		return token, logp, ent, kept
	}
	kept = Kept{s.make(name, I32, b, (w.Dim(0)+31)/32), s.make(name, F32, b)}
	cut := s.FromF32(cuts, b, 3)
	if s.Err() != nil || !s.did(name, be.HeadSampleKeep(token.n, logp.n, ent.n, kept.Bits.n, kept.Mass.n, x.n, own, packed, absent(temp), cut.n, count.n, key.n, o.SoftCap), x, w) {
		return dead()
	}
	return token, logp, ent, kept
}

// KeptWords lists the words whose bits are set in one row of SampleHeadKeep's result, ascending; v is the vocabulary.
func KeptWords(row []int32, v int) []int32 {
	n := 0
	for _, b := range row {
		n += bits.OnesCount32(uint32(b))
	}
	words := make([]int32, 0, n)
	for i, b := range row {
		for u := uint32(b); u != 0; u &= u - 1 {
			if word := 32*i + bits.TrailingZeros32(u); word < v {
				words = append(words, int32(word))
			}
		}
	}
	return words
}
