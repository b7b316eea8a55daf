// Package libtorch finds libtorch on a machine and compiles the backend for it: what the devices "torch" and "cuda:N" of package
// kernels are made of.
//
// The backend is C++ text inside this module. [Setup] compiles it once for each version of libtorch, in about ten seconds, into a
// folder of the user's cache, and notes which libtorch it was given last; [Find] is what kernels.Open asks. Nothing of libtorch is
// linked, and nothing is loaded before a device is opened.
package libtorch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/gor1/gor1/kernels/internal/native"
)

// Oldest is the oldest version of libtorch that the backend is made for.
const Oldest = "2.11"

// Torch is a libtorch on disk.
type Torch struct {
	Dir     string // the folder that holds include and lib, such as a Python's site-packages/torch
	Version string // as its headers have it, such as 2.11.0
}

// Lib is the folder of its shared libraries.
func (t Torch) Lib() string { return filepath.Join(t.Dir, "lib") }

// Installed is a libtorch and the backend compiled for it.
type Installed struct {
	Torch
	Shim string // the backend's file
}

// ErrNoTorch is returned where no libtorch was ever set up.
var ErrNoTorch = errors.New("no libtorch is set up here; run: r1 setup torch")

var versionLine = regexp.MustCompile(`(?m)^#define TORCH_VERSION\s+(?:\\\s+)?"(\d+\.\d+\.\d+)`)

// At recognises a libtorch in dir, which may be the folder of libtorch itself, one that holds it as torch or libtorch, or a Python
// virtual environment.
func At(dir string) (Torch, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Torch{}, fmt.Errorf("libtorch: %w", err)
	}
	candidates := []string{abs, filepath.Join(abs, "torch"), filepath.Join(abs, "libtorch")}
	deep, err := filepath.Glob(filepath.Join(abs, "lib", "python3*", "site-packages", "torch"))
	if err != nil {
		return Torch{}, fmt.Errorf("libtorch: %s: %w", dir, err)
	}
	for _, c := range append(candidates, deep...) {
		if _, err := os.Stat(filepath.Join(c, "lib", "libtorch_cpu.so")); err == nil {
			return read(c)
		}
	}
	return Torch{}, fmt.Errorf("libtorch: no lib/libtorch_cpu.so in %s, nor in torch, libtorch or lib/python3*/site-packages/torch under it; give the folder of libtorch, or of a Python environment with torch", dir)
}

func read(dir string) (Torch, error) {
	header := filepath.Join(dir, "include", "torch", "headeronly", "version.h")
	text, err := os.ReadFile(header)
	if errors.Is(err, fs.ErrNotExist) {
		return Torch{}, fmt.Errorf("libtorch: %s has no %s: it is older than %s; install a newer one: pip install 'torch>=%s'", dir, "include/torch/headeronly/version.h", Oldest, Oldest)
	}
	if err != nil {
		return Torch{}, fmt.Errorf("libtorch: %w", err)
	}
	m := versionLine.FindSubmatch(text)
	if m == nil {
		return Torch{}, fmt.Errorf("libtorch: %s names no version", header)
	}
	t := Torch{Dir: dir, Version: string(m[1])}
	if older(t.Version, Oldest) {
		return Torch{}, fmt.Errorf("libtorch: %s has version %s, want %s or newer: pip install 'torch>=%s'", dir, t.Version, Oldest, Oldest)
	}
	return t, nil
}

// older compares versions number by number, as far as the second one goes.
func older(v, than string) bool {
	have := strings.Split(v, ".")
	for i, want := range strings.Split(than, ".") {
		a, errA := strconv.Atoi(have[i])
		b, errB := strconv.Atoi(want)
		if errA != nil || errB != nil || a != b {
			return errA == nil && a < b
		}
	}
	return false
}

// Cache is the folder in which compiled backends are kept, inside the user's cache.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("libtorch: the user has no cache folder: %w", err)
	}
	return filepath.Join(dir, "gor1", "torch"), nil
}

// Find returns the libtorch in dir, or, where dir is empty, the one that was set up last, with the backend that Setup compiled for it.
func Find(dir string) (Installed, error) {
	cache, err := Cache()
	if err != nil {
		return Installed{}, err
	}
	named := dir
	if dir == "" {
		last, err := os.ReadFile(filepath.Join(cache, lastFile))
		if errors.Is(err, fs.ErrNotExist) {
			return Installed{}, ErrNoTorch
		}
		if err != nil {
			return Installed{}, fmt.Errorf("libtorch: %w", err)
		}
		dir = strings.TrimSpace(string(last))
	}
	t, err := At(dir)
	if err != nil && named == "" {
		return Installed{}, fmt.Errorf("%w; it was set up and is gone or changed: run r1 setup torch again", err)
	}
	if err != nil {
		return Installed{}, err
	}
	in := Installed{Torch: t, Shim: shimFile(cache, t)}
	if _, err := os.Stat(in.Shim); err != nil {
		return Installed{}, fmt.Errorf("libtorch: the backend is not compiled for libtorch %s in %s; run: r1 setup torch --torch %s", t.Version, t.Dir, t.Dir)
	}
	return in, nil
}

// lastFile holds the folder of the libtorch set up last.
const lastFile = "last"

// shimFile is where the backend for t is kept: another source, version, compiler call or platform is another file.
func shimFile(cache string, t Torch) string {
	h := sha256.New()
	fmt.Fprintln(h, t.Version, runtime.GOOS, runtime.GOARCH, compileFlags, linkFlags)
	for _, f := range sources() {
		fmt.Fprintln(h, f.name, len(f.text))
		h.Write(f.text)
	}
	return filepath.Join(cache, t.Version+"-"+hex.EncodeToString(h.Sum(nil))[:16], "libr1.so")
}

type source struct {
	name string // path, such as cuda/attn.cu
	text []byte
}

// sources are the files of the backend, in order of name. They are part of the program: reading them does not fail.
func sources() []source {
	var all []source
	err := fs.WalkDir(native.Shim, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := native.Shim.ReadFile(path)
		all = append(all, source{strings.TrimPrefix(path, "shim/"), text})
		return err
	})
	if err != nil {
		panic(err)
	}
	return all
}
