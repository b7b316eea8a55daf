package native

import "embed"

// Shim is the source of the libtorch backend: the contract r1.h and the folder shim, whose torch.cpp includes the rest; shim/cuda is the
// text of the CUDA kernels. It is compiled on the user's machine, against the user's libtorch, by package kernels/libtorch.
//
//go:embed r1.h shim/*.cpp shim/*.h shim/r1.map shim/cuda
var Shim embed.FS

// Torch says which libtorch and which compiled shim to load.
type Torch struct {
	Lib     string // folder of libtorch_cpu.so
	Shim    string // the shim's file
	Kernels string // folder of the kernels compiled for the device; "": none
}
