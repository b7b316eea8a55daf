// Package tokenizer turns text into the ids a model was trained on, and back, exactly as the
// Rust library behind transformers does. It is pure Go and usable alone.
//
// Load reads a tokenizer.json whose model is BPE: byte-level (GPT-2, Llama 3, Qwen 2 and 3,
// DeepSeek-V3, SmolLM2) or characters with byte fallback (Gemma). New builds a byte-level one from
// tokens and merges in memory, FromGGUF one from the metadata of a GGUF file. The regular expressions
// that cut text into words are recognised by their exact text and run as hand-written scanners over
// Unicode 16.0 classes; an unknown expression, normalizer or decoder is an error that names it, never
// a guess.
//
// A Tokenizer is immutable and safe for concurrent use.
package tokenizer
