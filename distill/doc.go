// Package distill teaches one model with another: by its traces (plain supervised fine-tuning on them) or by its
// distributions, compared over the whole vocabulary.
package distill
