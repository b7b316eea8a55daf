// Package model is decoder-only language models from Hugging Face folders. Sampling and training run the same forward.
package model
