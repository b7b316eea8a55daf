package model

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gor1/gor1/kernels"
)

// sparse says whether layer i has experts.
func (c Config) sparse(i int) bool { return c.MoE != nil && c.MoE.Sparse[i] }

// expertWeights lists the arrays of a layer of experts.
func (c Config) expertWeights(ws *weightList, p string) {
	e := c.MoE
	ws.lin(p+"gate", e.Experts, c.HiddenSize, false)
	if e.Sigmoid {
		*ws = append(*ws, weight{name: p + "gate.e_score_correction_bias", shape: []int{e.Experts}, fixed: true})
	}
	for i := range e.Experts {
		ws.unit(fmt.Sprintf("%sexperts.%d.", p, i), e.Width, c.HiddenSize, false)
	}
	if e.Shared > 0 {
		ws.unit(p+"shared_experts.", e.Shared*e.Width, c.HiddenSize, false)
	}
}

// extraLayer says whether a tensor belongs to a layer past the last.
func (c Config) extraLayer(name string) bool {
	rest, ok := strings.CutPrefix(name, "model.layers.")
	var i int
	_, err := fmt.Sscanf(rest, "%d.", &i)
	return ok && err == nil && i >= c.Layers
}

// mixture is the routed experts' part of h [T, D]: each token goes through PerToken experts, whose outputs are added in
// ascending order of the experts, weighted by the router's scores. Every sum's order is a function of the token alone.
func (m *LM) mixture(s *kernels.Scope, l *layer, h *kernels.Tensor) *kernels.Tensor {
	e, t := m.config.MoE, h.Dim(0)
	k := e.PerToken
	scoresTE := s.Linear(h, l.router.w.Tensor, nil)
	if e.Sigmoid {
		scoresTE = s.Sigmoid(scoresTE)
	} else {
		scoresTE = s.Softmax(scoresTE)
	}
	host := make([]float32, t*e.Experts)
	if err := s.Read(scoresTE, host); err != nil || t == 0 {
		return s.Affine(h, 0, 0)
	}
	chosen := e.choose(host, l.correction)

	// pairs (token, rank) in the order of their experts; at[p] is where pair p went
	order := make([]int, t*k)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(chosen[a], chosen[b]) })
	tokens, pairs, at := make([]int32, t*k), make([]int32, t*k), make([]int32, t*k)
	for i, p := range order {
		tokens[i], pairs[i], at[p] = int32(p/k), int32(p), int32(i)
	}

	x := s.Gather(h, tokens)
	var parts []*kernels.Tensor
	for from := 0; from < len(order); {
		expert, to := chosen[order[from]], from
		for to < len(order) && chosen[order[to]] == expert {
			to++
		}
		parts = append(parts, m.gated(s.SequencesAt(tokens[from:to]), l.experts[expert], s.Rows(x, from, to-from)))
		from = to
	}
	weight := s.Reshape(s.Gather(s.Reshape(e.weights(s, scoresTE, chosen), t*k, 1), pairs), t*k, 1)
	x = s.Mul(s.ConcatRows(parts...), weight)

	var y *kernels.Tensor
	for j := range k {
		rows := make([]int32, t)
		for i := range rows {
			rows[i] = at[i*k+j]
		}
		if part := s.Gather(x, rows); y == nil {
			y = part
		} else {
			y = s.Add(y, part)
		}
	}
	return y
}

// weights are the chosen experts' scores [T, k], normalised and scaled as the config says.
func (e *MoE) weights(s *kernels.Scope, scoresTE *kernels.Tensor, chosen []int32) *kernels.Tensor {
	t, k := scoresTE.Dim(0), e.PerToken
	cols := make([]*kernels.Tensor, k)
	for j := range cols {
		idx := make([]int32, t)
		for i := range idx {
			idx[i] = chosen[i*k+j]
		}
		cols[j] = s.Reshape(s.Pick(scoresTE, idx), t, 1)
	}
	w := s.ConcatCols(cols...)
	if e.Normalise {
		sum := s.Reshape(s.RowSum(w), t, 1)
		if e.Sigmoid {
			sum = s.Affine(sum, 1, 1e-20)
		}
		w = s.Div(w, sum)
	}
	if e.Scale != 1 {
		w = s.Affine(w, float32(e.Scale), 0)
	}
	return w
}

// choose returns the experts of each token [T, k], ascending. scores is [T, E]; with a correction bias the choice is by score
// plus bias, among the TopGroups groups whose two best are largest. Ties go to the lower number.
func (e *MoE) choose(scores, correction []float32) []int32 {
	n, k := e.Experts, e.PerToken
	t := len(scores) / n
	chosen := make([]int32, 0, t*k)
	choice := make([]float32, n)
	for i := range t {
		copy(choice, scores[i*n:(i+1)*n])
		for j := range correction {
			choice[j] += correction[j]
		}
		e.keepTopGroups(choice)
		top := best(choice, k)
		slices.Sort(top)
		chosen = append(chosen, top...)
	}
	return chosen
}

// keepTopGroups sets the scores of all groups but the best to minus infinity.
func (e *MoE) keepTopGroups(choice []float32) {
	if e.Groups == 1 {
		return
	}
	size := e.Experts / e.Groups
	sums := make([]float32, e.Groups)
	for g := range sums {
		group := choice[g*size : (g+1)*size]
		top := best(group, 2)
		sums[g] = group[top[0]] + group[top[1]]
	}
	keep := best(sums, e.TopGroups)
	for i := range choice {
		if !slices.Contains(keep, int32(i/size)) {
			choice[i] = float32(math.Inf(-1))
		}
	}
}

// best are the indices of the k largest values, largest first; ties and NaN: lower index first.
func best(values []float32, k int) []int32 {
	idx := make([]int32, len(values))
	for i := range idx {
		idx[i] = int32(i)
	}
	slices.SortStableFunc(idx, func(a, b int32) int { return cmp.Compare(values[b], values[a]) })
	return idx[:k]
}
