// Package sft is supervised fine-tuning: a weighted token loss as a pure function, and a thin Trainer over it.
package sft
