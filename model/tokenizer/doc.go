// Package tokenizer turns text into the ids a model was trained on, exactly. It is pure Go.
package tokenizer
