package model

import "github.com/gor1/gor1/kernels"

// latent is the projections of multi-head latent attention.
type latent struct {
	q, qa, qb, kva, kvb linear // q, or qa and qb with a norm between
	qNorm, kvNorm       *kernels.Param
}

// latentEps is the epsilon of the norms inside, which config.json does not set.
const latentEps = 1e-6

func (c Config) latentWeights(ws *weightList, p string) {
	a := c.MLA
	if a.QRank > 0 {
		ws.lin(p+"q_a_proj", a.QRank, c.HiddenSize, c.QKVBias)
		ws.vec(p+"q_a_layernorm", a.QRank)
		ws.lin(p+"q_b_proj", c.Heads*c.HeadDim, a.QRank, false)
	} else {
		ws.lin(p+"q_proj", c.Heads*c.HeadDim, c.HiddenSize, false)
	}
	ws.lin(p+"kv_a_proj_with_mqa", a.KVRank+a.RopeDim, c.HiddenSize, c.QKVBias)
	ws.vec(p+"kv_a_layernorm", a.KVRank)
	ws.lin(p+"kv_b_proj", c.Heads*(a.NopeDim+a.VDim), a.KVRank, false)
	ws.lin(p+"o_proj", c.HiddenSize, c.Heads*a.VDim, c.OutBias)
}

// latentQueries expands the latents of h [T, D] to queries, keys and values [T, H, d], d = NopeDim + RopeDim; the values'
// last dimensions are 0 where they are narrower.
func (m *LM) latentQueries(s *kernels.Scope, l *layer, h, pos *kernels.Tensor) (q, k, v *kernels.Tensor) {
	c, a, p, t := m.config, m.config.MLA, &l.latent, h.Dim(0)
	rotate := s.Rope
	if a.Interleave {
		rotate = s.RopePairs
	}
	if a.QRank > 0 {
		q = p.qb.apply(s, s.RMSNorm(p.qa.apply(s, h), p.qNorm.Tensor, latentEps))
	} else {
		q = p.q.apply(s, h)
	}
	q = s.Reshape(q, t*c.Heads, c.HeadDim)
	turned := rotate(s.Reshape(s.Cols(q, a.NopeDim, a.RopeDim), t, c.Heads, a.RopeDim), pos, l.table)
	q = s.ConcatCols(s.Cols(q, 0, a.NopeDim), s.Reshape(turned, t*c.Heads, a.RopeDim))

	kva := p.kva.apply(s, h)
	kv := p.kvb.apply(s, s.RMSNorm(s.Cols(kva, 0, a.KVRank), p.kvNorm.Tensor, latentEps))
	kv = s.Reshape(kv, t*c.Heads, a.NopeDim+a.VDim)
	turned = s.Reshape(rotate(s.Reshape(s.Cols(kva, a.KVRank, a.RopeDim), t, 1, a.RopeDim), pos, l.table), t, a.RopeDim)
	shared := make([]*kernels.Tensor, c.Heads)
	for i := range shared {
		shared[i] = turned
	}
	k = s.ConcatCols(s.Cols(kv, 0, a.NopeDim), s.Reshape(s.ConcatCols(shared...), t*c.Heads, a.RopeDim))
	v = s.Cols(kv, a.NopeDim, a.VDim)
	if pad := c.HeadDim - a.VDim; pad > 0 {
		v = s.ConcatCols(v, s.Zeros(t*c.Heads, pad))
	}
	shape := []int{t, c.Heads, c.HeadDim}
	return s.Reshape(q, shape...), s.Reshape(k, shape...), s.Reshape(v, shape...)
}
