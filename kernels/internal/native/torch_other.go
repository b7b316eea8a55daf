//go:build !cgo || !linux

package native

import "errors"

var errNotHere = errors.New("libtorch needs Linux and a program built with cgo")

// OpenTorch fails: libtorch is loaded on Linux only, and through cgo.
func OpenTorch(Torch, Options) (*Backend, error) { return nil, errNotHere }

// CUDADevices fails: there is no way to ask.
func CUDADevices() (int, error) { return 0, errNotHere }

// NVRTC is not here.
type NVRTC struct{ Version string }

// OpenNVRTC fails.
func OpenNVRTC(string) (*NVRTC, error) { return nil, errNotHere }

// Compile fails.
func (*NVRTC) Compile(string, string, map[string]string, []string) ([]byte, string, error) {
	return nil, "", errNotHere
}

// CUDACapability fails.
func CUDACapability(int) (int, int, error) { return 0, 0, errNotHere }
