package kernels

import (
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

func (s *Scope) head(name string, x, w *Tensor, targets []int32, other *HeadOther, o HeadOptions) (logpT, entropyT, klT *Tensor) {
	fail := func(format string, args ...any) (a, b, c *Tensor) {
		return s.fail(name, format, args...), s.dead(), s.dead()
	}
	if !s.want(name, x, w) || (o.Temp != nil && !s.want(name, o.Temp)) || (other != nil && !s.want(name, other.X, other.W)) {
		return s.dead(), s.dead(), s.dead()
	}
	if x.n.ND != 2 || w.n.ND != 2 || x.Dim(1) != w.Dim(1) || len(targets) != x.Dim(0) || (o.Temp != nil && o.Temp.Len() != x.Dim(0)) {
		return fail("x %s, w %s, %d targets, temperatures %s: want [T,D], [V,D], T, [T]", x, w, len(targets), o.Temp)
	}
	if other != nil && (other.X.n.ND != 2 || other.W.n.ND != 2 || other.X.Dim(0) != x.Dim(0) || other.W.Dim(0) != w.Dim(0) || other.X.Dim(1) != other.W.Dim(1)) {
		return fail("the other model's x %s, w %s: want [T,C], [V,C] with T %d, V %d", other.X, other.W, x.Dim(0), w.Dim(0))
	}
	if other != nil && !(other.Divergence >= 0 && other.Divergence <= 1) {
		return fail("divergence %g, want ForwardKL (0) to ReverseKL (1)", other.Divergence)
	}
	rows := native.HeadRows{Temp: absent(o.Temp)}
	keep := func(t *Tensor) native.Tensor { return t.n } // a dead tensor shows in s.Err
	rows.Target = keep(s.ids(name, targets, w.Dim(0)))
	if o.Keep != nil {
		at, ids, err := flatten(o.Keep, len(targets))
		if err != "" {
			return fail("%s", err)
		}
		rows.KeepAt, rows.Keep = keep(s.FromI32(at)), keep(s.FromI32(ids))
	}
	t := x.Dim(0)
	logp, ent, lse, kl, aux := s.make(name, F32, t), s.make(name, F32, t), s.make(name, F32, t), (*Tensor)(nil), (*Tensor)(nil)
	var there native.HeadModel
	beta := float32(0)
	if other != nil {
		kl, aux, beta = s.make(name, F32, t), s.make(name, F32, t, 2), float32(other.Divergence)
		packed, _ := s.packedOf(name, other.W)
		there = native.HeadModel{X: other.X.n, W: other.W.n, Packed: packed, SoftCap: other.SoftCap}
	}
	packed, _ := s.packedOf(name, w)
	if s.Err() != nil {
		return s.dead(), s.dead(), s.dead()
	}
	here := native.HeadModel{X: x.n, W: w.n, Packed: packed, SoftCap: o.SoftCap}
	plain := other == nil && o.Keep == nil // the entries that every backend has
	var err error
	if plain {
		err = s.st.dev.be.Head(logp.n, ent.n, lse.n, x.n, w.n, packed, rows.Target, rows.Temp, o.SoftCap)
	} else {
		err = s.st.dev.be.HeadExt(logp.n, ent.n, lse.n, absent(kl), absent(aux), here, there, rows, beta)
	}
	if !s.did(name, err, x, w) {
		return s.dead(), s.dead(), s.dead()
	}
	if s.recording(x, w) {
		outs := []*Tensor{logp, ent}
		if kl != nil {
			outs = append(outs, kl)
		}
		s.record(name, func(g *Scope) {
			dlogp := logp.grad
			if dlogp == nil {
				dlogp = g.Zeros(t)
			}
			var dkl native.Tensor
			if kl != nil {
				dkl = absent(kl.grad)
			}
			dx := g.like(name, x)
			packed, ok := g.packedOf(name, w)
			if dx.dead || dlogp.dead || !ok {
				return
			}
			here.Packed = packed
			run := func(dw native.Tensor) {
				var err error
				if be := g.st.dev.be; plain {
					err = be.HeadGrad(dx.n, dw, dlogp.n, absent(ent.grad), ent.n, lse.n, x.n, w.n, packed, rows.Target, rows.Temp, o.SoftCap)
				} else {
					err = be.HeadExtGrad(dx.n, dw, dlogp.n, absent(ent.grad), dkl, ent.n, lse.n, absent(aux), here, there, rows, beta)
				}
				g.did(name, err, x, w)
			}
			if w.grads {
				g.into(w, func(acc *Tensor) { run(acc.n) })
			} else {
				run(native.Tensor{})
			}
			g.addGrad(x, dx)
		}, outs...)
	}
	return logp, ent, kl
}

// flatten lays the words of n rows end to end and says where each row's begin.
func flatten(keep [][]int32, n int) (at, ids []int32, err string) {
	if len(keep) != n {
		return nil, nil, "the kept words are not given for each row"
	}
	total := 0
	for _, words := range keep {
		total += len(words)
	}
	if total > 1<<31-1 {
		return nil, nil, "more than 2^31 kept words in one call: take fewer rows"
	}
	at, ids = make([]int32, 1, n+1), make([]int32, 0, total)
	for _, words := range keep {
		ids = append(ids, words...)
		at = append(at, int32(len(ids)))
	}
	return at, ids, ""
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

// SampleHeadKeep is [Scope.SampleHead] from truncated distributions, cuts[b] for row b (one with temperature 0 is not truncated). keptBW, i32
// [B, (V+31)/32], has the bit of each word that was kept; [KeptWords] lists them. The log-prob and entropy are over the kept words: the
// bits [Scope.Head] gives with them as Keep.
func (s *Scope) SampleHeadKeep(x, w *Tensor, o SampleOptions, cuts []Truncation) (tokenB, logpB, entropyB, keptBW *Tensor) {
	if s.Err() == nil && x != nil && x.n.ND == 2 && len(cuts) != x.Dim(0) {
		return s.fail("SampleHeadKeep", "%d truncations for x %s", len(cuts), x), s.dead(), s.dead(), s.dead()
	}
	flat := make([]float32, 0, 3*len(cuts))
	for i, c := range cuts {
		if c.TopK < 0 || !(c.TopP >= 0 && c.TopP <= 1) || !(c.MinP >= 0 && c.MinP <= 1) {
			return s.fail("SampleHeadKeep", "row %d: top-k %d, top-p %g, min-p %g: want 0 or more, 0 to 1, 0 to 1", i, c.TopK, c.TopP, c.MinP), s.dead(), s.dead(), s.dead()
		}
		flat = append(flat, float32(min(c.TopK, 1<<24)), c.TopP, c.MinP)
	}
	return s.sampleHead("SampleHeadKeep", x, w, o, flat)
}

func (s *Scope) sampleHead(name string, x, w *Tensor, o SampleOptions, cuts []float32) (tokenB, logpB, entropyB, keptBW *Tensor) {
	dead := func() (a, b, c, d *Tensor) { return s.dead(), s.dead(), s.dead(), s.dead() }
	if !s.want(name, x, w) {
		return dead()
	}
	b := x.Dim(0)
	if x.n.ND != 2 || w.n.ND != 2 || x.Dim(1) != w.Dim(1) || len(o.Counter) != b || (o.Temp != nil && len(o.Temp) != b) {
		s.fail(name, "x %s, w %s, %d counters, %d temperatures: want [B,D], [V,D], B, B or none", x, w, len(o.Counter), len(o.Temp))
		return dead()
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
	packed, ok := s.packedOf(name, w)
	if s.Err() != nil || !ok {
		return dead()
	}
	be := s.st.dev.be
	if cuts == nil {
		if !s.did(name, be.HeadSample(token.n, logp.n, ent.n, x.n, w.n, packed, absent(temp), count.n, key.n, o.SoftCap), x, w) {
			return dead()
		}
		return token, logp, ent, nil
	}
	kept, cut := s.make(name, I32, b, (w.Dim(0)+31)/32), s.FromF32(cuts, b, 3)
	if s.Err() != nil || !s.did(name, be.HeadSampleKeep(token.n, logp.n, ent.n, kept.n, x.n, w.n, packed, absent(temp), cut.n, count.n, key.n, o.SoftCap), x, w) {
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
