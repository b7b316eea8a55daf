package libtorch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gor1/gor1/kernels/internal/native"
)

// How the kernels are compiled. Their sums have the cpu's order and its bits only where each operation is rounded by itself.
var kernelFlags = []string{"--std=c++20", "--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false"}

var archName = regexp.MustCompile(`^sm_[0-9]{2,3}[af]?$`)

// Arch is the architecture that CUDA kernels for a device of this machine are compiled for, such as sm_90. The driver says it.
func Arch(device int) (string, error) {
	major, minor, err := native.CUDACapability(device)
	if err != nil {
		return "", fmt.Errorf("libtorch: %w", err)
	}
	return fmt.Sprintf("sm_%d%d", major, minor), nil
}

// Kernels compiles the CUDA kernels for an architecture, such as sm_80, sm_90a or sm_100, with the NVRTC that came with in's libtorch, and
// returns the folder of the code. Code is kept beside the backend, so that it is found again by source, version of NVRTC and architecture.
// No GPU is needed, and no network; it takes about 20 seconds. Where Options.Progress is set it hears of each file.
func Kernels(ctx context.Context, in Installed, arch string, o Options) (string, error) {
	if !archName.MatchString(arch) {
		return "", fmt.Errorf("libtorch: architecture %q: want one such as sm_80, sm_90a or sm_100", arch)
	}
	file, err := findNVRTC(in.Torch)
	if err != nil {
		return "", err
	}
	nvrtc, err := native.OpenNVRTC(file)
	if err != nil {
		return "", fmt.Errorf("libtorch: load NVRTC: %w", err)
	}
	dir := filepath.Join(filepath.Dir(in.Shim), arch+"-nvrtc"+nvrtc.Version)
	if _, err := os.Stat(dir); err == nil {
		o.say("the kernels for %s are compiled already: %s", arch, dir)
		return dir, nil
	}
	work, err := os.MkdirTemp(filepath.Dir(in.Shim), "compiling-")
	if err != nil {
		return "", fmt.Errorf("libtorch: %w", err)
	}
	err = compileKernels(ctx, nvrtc, arch, work, o)
	if err == nil {
		err = os.Rename(work, dir)
	}
	if _, there := os.Stat(dir); err != nil && ctx.Err() == nil && there == nil { // another process was first
		err = nil
	}
	if left := os.RemoveAll(work); err != nil || left != nil {
		return "", errors.Join(err, left)
	}
	return dir, nil
}

// compileKernels writes the code of each file of kernels into dir.
func compileKernels(ctx context.Context, nvrtc *native.NVRTC, arch, dir string, o Options) error {
	headers := map[string]string{}
	var files []source
	for _, f := range sources() {
		switch {
		case path.Ext(f.name) == ".cu":
			files = append(files, f)
		case path.Dir(f.name) == "cuda":
			headers[path.Base(f.name)] = string(f.text)
		}
	}
	for i, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		start, name := time.Now(), path.Base(f.name)
		cubin, said, err := nvrtc.Compile(name, string(f.text), headers, append([]string{"--gpu-architecture=" + arch}, kernelFlags...))
		if err != nil {
			return fmt.Errorf("libtorch: compile %s for %s with NVRTC %s: %w %s", name, arch, nvrtc.Version, err, firstLines(said))
		}
		if said != "" {
			o.say("%s: %s", name, firstLines(said))
		}
		if err := os.WriteFile(filepath.Join(dir, strings.TrimSuffix(name, ".cu")+".cubin"), cubin, 0o644); err != nil {
			return fmt.Errorf("libtorch: %w", err)
		}
		o.say("compiled %s for %s with NVRTC %s: %d of %d, %d kB, %.1f s", name, arch, nvrtc.Version, i+1, len(files), len(cubin)/1000, time.Since(start).Seconds())
	}
	return nil
}

// findNVRTC looks for the NVRTC of a libtorch: in the wheel beside it, or among its own libraries.
func findNVRTC(t Torch) (string, error) {
	dir, err := filepath.EvalSymlinks(t.Dir)
	if err != nil {
		return "", fmt.Errorf("libtorch: %w", err)
	}
	var all []string
	for _, pattern := range []string{"../nvidia/cu*/lib/libnvrtc.so.*", "../nvidia/cuda_nvrtc/lib/libnvrtc.so.*", "lib/libnvrtc.so.*", "lib/libnvrtc-*.so.*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", fmt.Errorf("libtorch: %s: %w", dir, err)
		}
		all = append(all, found...)
	}
	for _, f := range all {
		if !strings.Contains(f, "builtins") {
			return f, nil
		}
	}
	return "", fmt.Errorf("libtorch: no NVRTC beside libtorch in %s, to compile the CUDA kernels with; install it: pip install nvidia-cuda-nvrtc==13.0.88", t.Dir)
}
