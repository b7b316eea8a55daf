//go:build !asan

package kernels

// reuse: freed memory is kept for the next allocations.
const reuse = true
