package libtorch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

var (
	compileFlags = []string{"-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden"}
	linkFlags    = []string{"-shared", "-ltorch_cpu", "-lc10", "-Wl,-z,defs", "-Wl,--version-script=r1.map"}
)

// The wheels that [Download] installs: torch, and the two that its CPU library needs besides.
var wheels = []string{"torch==2.11.0", "nvidia-cuda-cupti==13.0.85", "nvidia-cuda-runtime==13.0.96"}

// Options say how [Setup] works. The zero value compiles with g++ and says nothing.
type Options struct {
	Compiler string               // of C++20, such as g++ 11 or newer; empty: g++
	Progress func(message string) // called before each step; nil: nothing is told
}

func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// Setup compiles the backend for t into the cache, unless it is there, and notes t as the libtorch that kernels.Open takes when none
// is named. It needs a C++ compiler and no network.
func Setup(ctx context.Context, t Torch, o Options) (Installed, error) {
	cache, err := Cache()
	if err != nil {
		return Installed{}, err
	}
	in := Installed{Torch: t, Shim: shimFile(cache, t)}
	if _, err := os.Stat(in.Shim); err == nil {
		o.say("the backend for libtorch %s is compiled already: %s", t.Version, in.Shim)
	} else if err := compile(ctx, t, in.Shim, o); err != nil {
		return Installed{}, err
	}
	if err := replace(filepath.Join(cache, lastFile), []byte(t.Dir+"\n")); err != nil {
		return Installed{}, fmt.Errorf("libtorch: %w", err)
	}
	return in, nil
}

// compile makes the shared library in a folder of its own and moves it to its place when it is whole.
func compile(ctx context.Context, t Torch, shim string, o Options) (err error) {
	cxx := o.Compiler
	if cxx == "" {
		cxx = "g++"
	}
	if _, err := exec.LookPath(cxx); err != nil {
		return fmt.Errorf("libtorch: no C++ compiler %s; install one: apt-get install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora), or set CXX", cxx)
	}
	if err := os.MkdirAll(filepath.Dir(shim), 0o755); err != nil {
		return fmt.Errorf("libtorch: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(shim), "compiling-")
	if err != nil {
		return fmt.Errorf("libtorch: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	for _, f := range sources() {
		path := filepath.Join(work, filepath.FromSlash(f.name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, f.text, 0o644)); err != nil {
			return fmt.Errorf("libtorch: %w", err)
		}
	}
	o.say("compiling the backend for libtorch %s with %s, about 10 seconds", t.Version, cxx)
	start := time.Now()
	args := append(append([]string{}, compileFlags...), "-I.", "-isystem", filepath.Join(t.Dir, "include"), "-c", "torch.cpp", "-o", "torch.o")
	if err := call(ctx, work, cxx, args...); err != nil {
		return fmt.Errorf("libtorch: compile the backend for libtorch %s in %s (it wants g++ 11 or newer): %w", t.Version, t.Dir, err)
	}
	args = append([]string{"torch.o", "-o", "libr1.so", "-L" + t.Lib()}, linkFlags...)
	if err := call(ctx, work, cxx, args...); err != nil {
		return fmt.Errorf("libtorch: link the backend with libtorch %s in %s: %w", t.Version, t.Dir, err)
	}
	if err := os.Rename(filepath.Join(work, "libr1.so"), shim); err != nil {
		return fmt.Errorf("libtorch: %w", err)
	}
	o.say("compiled in %.0f s: %s", time.Since(start).Seconds(), shim)
	return nil
}

// call runs a command in dir; its error carries the first lines of what the command said.
func call(ctx context.Context, dir, name string, args ...string) error {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &said, &said
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s: %w\n%s", name, err, firstLines(said.String()))
}

// firstLines is the beginning of what a compiler said.
func firstLines(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return strings.Join(lines[:min(len(lines), 12)], "\n")
}

// replace writes a file whole or not at all.
func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// InPython asks a Python interpreter, such as python3, for the torch it would import. The torch is not imported.
func InPython(ctx context.Context, python string) (Torch, error) {
	const ask = "import importlib.util as u\ns = u.find_spec('torch')\nprint(list(s.submodule_search_locations)[0] if s else '')"
	out, err := exec.CommandContext(ctx, python, "-c", ask).Output()
	if err != nil {
		return Torch{}, fmt.Errorf("libtorch: ask %s for torch: %w", python, err)
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" {
		return Torch{}, fmt.Errorf("libtorch: %s has no torch; install it: %s -m pip install torch", python, python)
	}
	return At(dir)
}

// Download installs torch's wheel (530 MB; 1.3 GB on disk) by the pip of a Python interpreter into the cache, with what its CPU library
// needs and none of its GPU libraries, and returns it. Where it is there already nothing is done.
func Download(ctx context.Context, python string, o Options) (Torch, error) {
	cache, err := Cache()
	if err != nil {
		return Torch{}, err
	}
	dir := filepath.Join(cache, strings.Replace(wheels[0], "==", "-", 1))
	if t, err := At(dir); err == nil {
		o.say("libtorch %s is there already: %s", t.Version, t.Dir)
		return t, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Torch{}, fmt.Errorf("libtorch: %w", err)
	}
	work, err := os.MkdirTemp(cache, "downloading-")
	if err != nil {
		return Torch{}, fmt.Errorf("libtorch: %w", err)
	}
	o.say("downloading %s by pip: 530 MB, 1.3 GB on disk", strings.Join(wheels, ", "))
	args := append([]string{"-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", work}, wheels...)
	if err := call(ctx, cache, python, args...); err != nil {
		return Torch{}, errors.Join(fmt.Errorf("libtorch: download torch (needs Python 3.10 or newer with pip, and the network): %w", err), os.RemoveAll(work))
	}
	if err := os.Rename(work, dir); err != nil {
		return Torch{}, errors.Join(fmt.Errorf("libtorch: %w", err), os.RemoveAll(work))
	}
	return At(dir)
}
