// Package sft is supervised training: a weighted token loss as a pure function and a thin Trainer over it, and the same for
// reward models, from pairs of which one was preferred or from labelled texts.
package sft
