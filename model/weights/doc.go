// Package weights reads and writes model files. It is pure Go and trusts nothing a file says.
//
// Open reads safetensors (a file, shards with their index, a folder) and GGUF (versions 2 and 3, split files) tensor by tensor, as
// they are stored. OpenCheckpoint gives the same files as a model's weights: under Hugging Face's names, as numbers, rows in
// Hugging Face's order. Files are mapped into memory where the system can.
package weights
