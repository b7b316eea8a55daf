package model

import (
	"fmt"
	"math"

	"github.com/gor1/gor1/kernels"
)

// noise is NEFTune's of one training step.
type noise struct {
	alpha float64
	key   [2]uint32
}

// Noisy returns the model as step n of supervised training with NEFTune sees it (arXiv 2310.05914): to the embeddings of a sequence of L
// tokens uniform noise is added, within alpha/sqrt(L D). The noise is a function of seed, step, the sequence's ids and position: not of
// the batch or how it is split. The view shares everything with m and is not closed. Caches, and so sampling, have no noise.
func (m *LM) Noisy(alpha float64, seed uint64, step int) (*LM, error) {
	if !(alpha >= 0 && alpha < 1e6) {
		return nil, fmt.Errorf("model: NEFTune's alpha is %g, want 0 or more", alpha)
	}
	if alpha == 0 {
		return m, nil
	}
	words := kernels.Philox([2]uint32{uint32(seed), uint32(seed >> 32)}, [4]uint32{uint32(step), 0x6e656674, 0, 0})
	v := *m
	v.noise = &noise{alpha, [2]uint32{words[0], words[1]}}
	return &v, nil
}

// add adds the noise to the embedding rows of packed sequences.
func (n *noise) add(s *kernels.Scope, xTD *kernels.Tensor, ids []int32, segs kernels.Segs) *kernels.Tensor {
	if n == nil {
		return xTD
	}
	width, keys := xTD.Dim(-1), rowKeys(ids, segs)
	v := make([]float32, xTD.Len())
	for _, g := range segs {
		length := int(g.Len)
		for p := g.Parent; p >= 0; p = segs[p].Parent {
			length += int(segs[p].Len)
		}
		bound := n.alpha / math.Sqrt(float64(length*width))
		for t := int(g.Start); t < int(g.Start+g.Len); t++ {
			for j := 0; j < width; j += 4 {
				words := kernels.Philox(n.key, [4]uint32{keys[t][0], keys[t][1], keys[t][2], uint32(j)})
				for k := range min(4, width-j) {
					v[t*width+j+k] = float32(bound * (float64(words[k])/(1<<31) - 1))
				}
			}
		}
	}
	return s.Add(xTD, s.FromF32(v, xTD.Shape()...))
}

// rowKeys identify each row by what it is, not by where it lies: a hash of its sequence's ids in two words, and its position.
func rowKeys(ids []int32, segs kernels.Segs) [][3]uint32 {
	row, positions, hashes := make([][3]uint32, len(ids)), segs.Positions(), make([]uint64, len(segs))
	for i, g := range segs {
		h := uint64(14695981039346656037) // FNV-1a, over the parents' ids first
		if g.Parent >= 0 {
			h = hashes[g.Parent]
		}
		for t := g.Start; t < g.Start+g.Len; t++ {
			h = (h ^ uint64(uint32(ids[t]))) * 1099511628211
		}
		hashes[i] = h
		for t := g.Start; t < g.Start+g.Len; t++ {
			row[t] = [3]uint32{uint32(h), uint32(h >> 32), uint32(positions[t])}
		}
	}
	return row
}
