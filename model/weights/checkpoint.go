package weights

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Checkpoint is a model's weights as numbers under Hugging Face's names, whatever the file is: GGUF's names, row order and
// quantised types are undone, and so are DeepSeek's F8 weights with their scales.
type Checkpoint struct {
	file   *File
	arrays map[string]array
}

// array says how one array of the model comes out of a tensor of the file.
type array struct {
	*entry
	shape   []int
	experts int     // more than 0: it is so many arrays, and its name has %d where their numbers go
	from    int     // its first element in the tensor
	head    int     // elements of one head whose rows are to be put in order; 0: they are
	less    float32 // subtracted from each element
	scale   *entry  // of F8: its scales, and which elements share one
	block   Blocks
}

// Blocks are the rows and columns that share a scale in F8 weights: quantization_config.weight_block_size of config.json.
type Blocks [2]int

// OpenCheckpoint opens what Open opens. f8 is needed where F8_E4M3 weights have scales (NAME_scale_inv beside NAME) and may else
// be zero.
func OpenCheckpoint(path string, f8 Blocks) (*Checkpoint, error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{file: file}
	if file.gguf != nil {
		c.arrays, err = file.llamaNames()
	} else {
		c.arrays, err = file.scaled(f8)
	}
	if err != nil {
		return nil, errors.Join(wrap(path, err), file.Close())
	}
	return c, nil
}

// Close closes the files.
func (c *Checkpoint) Close() error { return c.file.Close() }

// Names lists the arrays in order.
func (c *Checkpoint) Names() []string {
	var names []string
	for name, a := range c.arrays {
		if a.experts == 0 {
			names = append(names, name)
		}
		for i := range a.experts {
			names = append(names, strings.Replace(name, "%d", strconv.Itoa(i), 1))
		}
	}
	slices.Sort(names)
	return names
}

// find looks an array up; the arrays of experts are not listed one by one.
func (c *Checkpoint) find(name string) (array, bool) {
	if a, ok := c.arrays[name]; ok {
		return a, a.experts == 0
	}
	before, rest, _ := strings.Cut(name, ".experts.")
	number, after, _ := strings.Cut(rest, ".")
	a, ok := c.arrays[before+".experts.%d."+after]
	i, err := strconv.Atoi(number)
	if !ok || err != nil || strconv.Itoa(i) != number || i < 0 || i >= a.experts {
		return array{}, false
	}
	a.from = i * elements(a.shape)
	return a, true
}

// Shape returns an array's shape, and the type that the file has it in ("Q4_1", "F8_E4M3", ...), without reading it; ok is false
// where there is no such array.
func (c *Checkpoint) Shape(name string) (dtype string, shape []int, ok bool) {
	a, ok := c.find(name)
	if !ok {
		return "", nil, false
	}
	return a.dtype, slices.Clone(a.shape), true
}

// eachLen is how many elements Each hands over at once where it can choose: 1 MiB, which stays in a core's cache.
const eachLen = 1 << 18

// Each calls fn with the elements of an array in row-major order, piece by piece, at being the first one's index. fn must not
// keep values. Memory is needed for one piece only. F8 weights have the values that transformers gives them in bfloat16:
// the float32 product of weight and scale, rounded to nearest even.
func (c *Checkpoint) Each(name string, fn func(at int, values []float32) error) error {
	a, ok := c.find(name)
	if !ok {
		return fmt.Errorf("weights: no tensor %q", name)
	}
	if err := a.each(fn); err != nil {
		return fmt.Errorf("weights: %s: tensor %s: %w", a.source.path, name, err)
	}
	return nil
}

// Float32 reads a whole array.
func (c *Checkpoint) Float32(name string) ([]float32, error) {
	_, shape, _ := c.Shape(name)
	out := make([]float32, 0, elements(shape))
	err := c.Each(name, func(_ int, values []float32) error { out = append(out, values...); return nil })
	return out, err
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

func (a array) each(fn func(at int, values []float32) error) error {
	l, total, piece := layouts[a.dtype], elements(a.shape), eachLen
	if a.dtype == "F8_E4M3" && a.scale != nil {
		l.widen = widenF8E4M3
	}
	if l.widen == nil {
		return fmt.Errorf("%s cannot be converted to float32", a.dtype)
	}
	if a.head > 0 {
		piece = a.head
	}
	var scales []float32
	if a.scale != nil {
		var err error
		if scales, err = (array{entry: a.scale, shape: a.scale.shape}).whole(); err != nil {
			return err
		}
	}
	values := make([]float32, min(piece, total))
	for at := 0; at < total; at += piece {
		part := values[:min(piece, total-at)]
		first := a.start + int64((a.from+at)/l.elems)*int64(l.bytes)
		err := a.source.view(first, first+int64(len(part)/l.elems)*int64(l.bytes), func(b []byte) { l.widen(part, b) })
		if err != nil {
			return err
		}
		if err := fn(at, a.finish(at, part, scales)); err != nil {
			return err
		}
	}
	return nil
}

func (a array) whole() (out []float32, err error) {
	err = a.each(func(_ int, values []float32) error { out = append(out, values...); return nil })
	return out, err
}

// finish does what is left to do with widened elements.
func (a array) finish(at int, v, scales []float32) []float32 {
	if a.less != 0 {
		for i := range v {
			v[i] -= a.less
		}
	}
	if scales != nil {
		a.applyScales(at, v, scales)
	}
	if a.head > 0 {
		return unpermute(v, len(v)/a.rows())
	}
	return v
}

// applyScales multiplies by the scales, one stretch of a row that shares one after another.
func (a array) applyScales(at int, v, scales []float32) {
	cols, perRow := a.shape[1], a.scale.shape[1]
	for len(v) > 0 {
		row, col := at/cols, at%cols
		n := min(len(v), cols-col, a.block[1]-col%a.block[1])
		scale := scales[row/a.block[0]*perRow+col/a.block[1]]
		for i := range v[:n] {
			v[i] = toBF16(v[i] * scale)
		}
		at, v = at+n, v[n:]
	}
}

// rows is the number of rows of one head.
func (a array) rows() int { return a.head / (elements(a.shape) / a.shape[0]) }

// unpermute puts a head's rows back: llama.cpp stores the rows of the first and the second half in turn, since it rotates
// neighbours where Hugging Face rotates halves.
func unpermute(v []float32, cols int) []float32 {
	out, half := make([]float32, len(v)), len(v)/cols/2
	for i := range half {
		copy(out[i*cols:(i+1)*cols], v[2*i*cols:])
		copy(out[(half+i)*cols:(half+i+1)*cols], v[(2*i+1)*cols:])
	}
	return out
}

// scaled pairs F8 weights with their scales; everything else is itself.
func (f *File) scaled(block Blocks) (map[string]array, error) {
	arrays := map[string]array{}
	for name, e := range f.entries {
		weight, isScale := strings.CutSuffix(name, "_scale_inv")
		if _, ok := f.entries[weight]; isScale && ok {
			continue
		}
		a := array{entry: &e, shape: e.shape}
		if scale, ok := f.entries[name+"_scale_inv"]; ok {
			if e.dtype != "F8_E4M3" || len(e.shape) != 2 || len(scale.shape) != 2 || block[0] < 1 || block[1] < 1 ||
				scale.shape[0] != up(e.shape[0], block[0]) || scale.shape[1] != up(e.shape[1], block[1]) {
				return nil, fmt.Errorf("tensor %s is %s%v, its scales %v for blocks of %v: want F8_E4M3 and a scale for each block", name, e.dtype, e.shape, scale.shape, block)
			}
			a.scale, a.block = &scale, block
		} else if e.dtype == "F8_E4M3" && block != (Blocks{}) {
			return nil, fmt.Errorf("tensor %s is F8_E4M3 and has no %s_scale_inv", name, name)
		}
		arrays[name] = a
	}
	return arrays, nil
}

func up(n, block int) int { return (n + block - 1) / block }
