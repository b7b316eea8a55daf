// Package run is a training run on disk: one lock, metrics, checkpoints that are either whole or absent, and a picture
// of the curves. It imports nothing else of this module: the owner of the state writes its own files.
package run
