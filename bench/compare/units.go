package main

import (
	"fmt"
	"slices"
)

// side is one program in a unit: a driver with what it is asked, and the settings of which it may take the best.
type side struct {
	driver string // ours, torch, transformers, llama, trl
	request
	settings []setting // none: the only one there is
	sweepNew int       // new tokens while settings are compared, where the whole would take long; 0: as timed
}

// unit is timed together, in interleaved rounds: each of ours against each of theirs.
type unit struct {
	name         string
	ours, theirs []side
	fresh        bool // every side in a process of its own, whose peak memory is the row's
}

// grid is every combination of the options' values.
func grid(options ...option) []setting {
	all := []setting{{}}
	for _, o := range options {
		var next []setting
		for _, s := range all {
			for _, v := range o.values {
				one := setting{o.name: v}
				for k, v := range s {
					one[k] = v
				}
				next = append(next, one)
			}
		}
		all = next
	}
	return all
}

type option struct {
	name   string
	values []any
}

func opt(name string, values ...any) option { return option{name, values} }

// threads are what a shape is worth trying: a model that is large gains from both cores whatever else is set.
func threads(shape string) option {
	if shape == "1m" {
		return opt("threads", 2, 1)
	}
	return opt("threads", 2)
}

func small(shape string) bool { return shape == "1m" || shape == "15m" }

var dtypes = []string{"f32", "bf16"}

// units are what a comparison is made of: products and optimiser, training, decoding and prefill, whole steps, long prompts.
func units(shapes []string, minTime float64) []unit {
	var all []unit
	add := func(name string, ours request, theirs ...side) {
		ours.MinTime = minTime
		for i := range theirs {
			theirs[i].request = ours
		}
		all = append(all, unit{name: name, ours: []side{{driver: "ours", request: ours}}, theirs: theirs})
	}
	large := slices.DeleteFunc(slices.Clone(shapes), func(s string) bool { return small(s) && len(shapes) > 1 })
	if len(large) > 0 && !slices.Contains(large, "0.5b") && !small(large[0]) {
		large = append(large, "0.5b") // its products need no model
	}
	for _, shape := range large {
		for _, dtype := range dtypes {
			packed := []any{"onednn", "no", "mkl"}
			if dtype == "bf16" {
				packed = packed[:2] // mkl has fp32 only
			}
			add("gemm "+shape+" "+dtype, request{Bench: "gemm", Shape: shape, DType: dtype, Rows: []int{256, 512}},
				side{driver: "torch", settings: grid(opt("threads", 2), opt("packed", packed...))})
		}
	}
	for _, shape := range shapes {
		add("adamw "+shape, request{Bench: "adamw", Shape: shape, DType: "f32"}, side{driver: "torch", settings: grid(opt("threads", 2, 1), opt("fused", true, false))})
	}
	for _, shape := range shapes {
		for _, dtype := range dtypes {
			batch := map[string]int{"1m": 32, "15m": 8}[shape]
			add("train "+shape+" "+dtype, request{Bench: "train", Shape: shape, DType: dtype, Batch: max(4, batch), Prompt: 64, New: 128},
				side{driver: "torch", settings: trainSettings(shape, dtype)})
		}
	}
	for _, shape := range shapes {
		for _, dtype := range dtypes {
			for _, batch := range []int{1, 16, 64} {
				r := request{Bench: "decode", Shape: shape, DType: dtype, Batch: batch, Prompt: 64, New: 32}
				if !small(shape) && batch > 1 {
					r.New = 8
				}
				llama := side{driver: "llama", settings: grid(opt("threads", 2, 1), opt("fa", 1, 0))}
				transformers := side{driver: "transformers", settings: grid(threads(shape), opt("attention", "sdpa", "eager"))}
				switch {
				case batch == 16: // between the others
					if dtype == "bf16" {
						add(fmt.Sprintf("decode %s %s B%d", shape, dtype, batch), r, transformers)
					}
				case small(shape) || dtype == "bf16":
					add(fmt.Sprintf("decode %s %s B%d", shape, dtype, batch), r, llama, transformers)
				default:
					add(fmt.Sprintf("decode %s %s B%d", shape, dtype, batch), r, llama)
				}
			}
			add("prefill "+shape+" "+dtype, request{Bench: "prefill", Shape: shape, DType: dtype, Batch: 1, Prompt: 512, New: 1},
				side{driver: "llama", settings: grid(opt("threads", 2), opt("fa", 1, 0), opt("ub", 512, 128))},
				side{driver: "transformers", settings: grid(opt("threads", 2), opt("attention", "sdpa", "eager"))})
		}
	}
	for _, shape := range shapes {
		all = append(all, step(shape))
	}
	for _, shape := range shapes {
		if small(shape) {
			all = append(all, scaling(shape))
		}
	}
	return all
}

// trainSettings are eager with both numbers of threads where that may matter, and compiled, which takes its time.
func trainSettings(shape, dtype string) []setting {
	if dtype == "f32" {
		return append(grid(threads(shape), opt("compile", false)), setting{"threads": 2, "compile": true})
	}
	return append(grid(threads(shape), opt("compile", false), opt("autocast", false, true)), grid(opt("threads", 2), opt("compile", true), opt("autocast", false, true))...)
}

// step is a whole GRPO step in our dtypes (a large model's in bf16), and with the prompt of a group trained once, against the best that TRL does.
func step(shape string) unit {
	u := unit{name: "step " + shape, fresh: true}
	r := request{Bench: "step", Shape: shape, Prompts: 8, Group: 8, Prompt: 64, New: 128}
	for _, dtype := range dtypes {
		r.DType = dtype
		if dtype == "f32" && !small(shape) {
			continue
		}
		u.ours = append(u.ours, side{driver: "ours", request: r})
	}
	r.SharePrompt = true
	u.ours = append(u.ours, side{driver: "ours", request: r})
	r.SharePrompt, r.DType = false, "f32"
	micro := opt("micro", 64, 8)
	if !small(shape) {
		micro = opt("micro", 8) // 64 do not fit in the memory
	}
	u.theirs = []side{{driver: "trl", request: r, settings: grid(threads(shape), micro, opt("bf16", true, false)), sweepNew: 16}}
	return u
}

// scaling is 16 samples of a long prompt against one: the ratio of tokens a second is 16 times that of one's seconds to the group's.
func scaling(shape string) unit {
	r := request{Bench: "step", Shape: shape, DType: "bf16", Prompts: 1, Group: 16, Prompt: 4096, New: 64, SharePrompt: true}
	one := r
	one.Group = 1
	return unit{name: "scaling " + shape, fresh: true, ours: []side{{driver: "ours", request: r}}, theirs: []side{{driver: "ours", request: one}}}
}

// shortened are the units with one setting of each peer and few tokens.
func shortened(list []unit) []unit {
	for i := range list {
		for _, sides := range [][]side{list[i].ours, list[i].theirs} {
			for j := range sides {
				s := &sides[j]
				s.New, s.Prompt = min(s.New, 4), min(s.Prompt, 64)
				s.settings = s.settings[:min(1, len(s.settings))]
			}
		}
	}
	return list
}
