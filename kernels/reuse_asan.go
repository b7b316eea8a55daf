//go:build asan

package kernels

// reuse: under the address sanitizer every block is one of the system's, which so sees each use outside or after its life.
const reuse = false
