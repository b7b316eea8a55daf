package code

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gor1/gor1/reward/code/sandbox"
)

// buildLimits bound a compiler: hostile source can make one spin or fill its memory.
var buildLimits = sandbox.Limits{CPU: 60 * time.Second, Wall: 90 * time.Second, Memory: 2 << 30, Disk: 512 << 20, Processes: 64, Files: 256}

// build makes the command that runs an answer; it compiles it, in a sandbox, where the language wants that. why says why
// the answer cannot be run.
func (g *Grader) build(ctx context.Context, lang, source string) (cmd sandbox.Command, why string, err error) {
	switch lang {
	case Python:
		if g.cfg.Python == "" {
			return cmd, "", errors.New("code: no Python: set Config.Python, or install python3")
		}
		return sandbox.Command{Args: []string{g.cfg.Python, "-I", "-B", "main.py"}, Limits: g.cfg.Test,
			Files: []sandbox.File{{Name: "main.py", Data: []byte(source)}}}, "", nil
	case CPP:
		if g.cfg.CXX == "" {
			return cmd, "", errors.New("code: no C++ compiler: set Config.CXX, or install g++")
		}
		return g.compile(ctx, sandbox.Command{Args: []string{g.cfg.CXX, "-std=c++20", "-O2", "-pipe", "-o", "main", "main.cpp"},
			Files: []sandbox.File{{Name: "main.cpp", Data: []byte(source)}}})
	case Go:
		return g.buildGo(ctx, source)
	}
	return cmd, "", fmt.Errorf("code: language %q: want %s, %s or %s", lang, Python, Go, CPP)
}

// compile runs a compiler that leaves a program called main.
func (g *Grader) compile(ctx context.Context, c sandbox.Command) (cmd sandbox.Command, why string, err error) {
	if k := g.cfg.Sandbox.Kind(); k == "landlock+seccomp" {
		return cmd, "", fmt.Errorf("code: a %s sandbox allows one process and no new files, so nothing can be compiled in it: allow user namespaces, or install bubblewrap", k)
	}
	c.Collect, c.Limits = "main", buildLimits
	res, err := g.cfg.Sandbox.Run(ctx, c)
	if err != nil {
		return cmd, "", err
	}
	if !res.OK() || len(res.File) == 0 {
		return cmd, fmt.Sprintf("does not compile: %v; %s", res, quote(res.Stderr)), nil
	}
	return sandbox.Command{Args: []string{"./main"}, Limits: g.cfg.Test, Files: []sandbox.File{{Name: "main", Mode: 0o555, Data: res.File}}}, "", nil
}

// goPackages are the standard packages a Go answer may import, beside what they import themselves. What reaches outside
// the process is left out.
var goPackages = strings.Fields(`bufio bytes cmp container/heap container/list container/ring context crypto/md5 crypto/sha1
	crypto/sha256 crypto/sha512 encoding/base64 encoding/binary encoding/hex encoding/json errors fmt hash/crc32 hash/fnv io iter
	maps math math/big math/bits math/cmplx math/rand math/rand/v2 os reflect regexp runtime runtime/debug slices sort strconv
	strings sync sync/atomic syscall testing text/tabwriter text/template time unicode unicode/utf16 unicode/utf8 unsafe`)

// standardLibrary compiles goPackages once, here and not in a sandbox, and returns a folder with their archives and the
// file importcfg, which tells compiler and linker where each is.
func (g *Grader) standardLibrary() (string, error) {
	g.goOnce.Do(func() { g.goDir, g.goErr = exportArchives(g.cfg.GoRoot) })
	return g.goDir, g.goErr
}

func exportArchives(root string) (string, error) {
	if root == "" {
		return "", errors.New("code: no Go distribution: set Config.GoRoot, or install Go under /usr/local/go")
	}
	list := exec.Command(filepath.Join(root, "bin", "go"), append([]string{"list", "-export", "-deps", "-f",
		"{{.ImportPath}}={{.Export}}"}, goPackages...)...)
	list.Env = append(os.Environ(), "GOFLAGS=", "GOROOT="+root, "CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOWORK=off", "GO111MODULE=off")
	list.Dir = root
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("code: compile the standard library with %s: %w: %s", list.Path, err, quote(stderr.Bytes()))
	}
	dir, err := os.MkdirTemp("", "gor1-go-")
	if err != nil {
		return "", fmt.Errorf("code: %w", err)
	}
	var cfg bytes.Buffer
	for i, line := range strings.Fields(string(out)) {
		name, archive, _ := strings.Cut(line, "=")
		if archive == "" { // unsafe has none
			continue
		}
		b, err := os.ReadFile(archive)
		if err == nil {
			to := filepath.Join(dir, fmt.Sprintf("%d.a", i))
			err = os.WriteFile(to, b, 0o644)
			fmt.Fprintf(&cfg, "packagefile %s=%s\n", name, to)
		}
		if err != nil {
			return "", errors.Join(fmt.Errorf("code: copy the archive of %s: %w", name, err), os.RemoveAll(dir))
		}
	}
	err = errors.Join(os.WriteFile(filepath.Join(dir, "importcfg"), cfg.Bytes(), 0o644), os.Chmod(dir, 0o755))
	if err != nil {
		return "", errors.Join(fmt.Errorf("code: %w", err), os.RemoveAll(dir))
	}
	return dir, nil
}

// buildGo compiles and links files with the tools themselves: the go command would want a module and a cache.
func (g *Grader) buildGo(ctx context.Context, sources ...string) (cmd sandbox.Command, why string, err error) {
	std, err := g.standardLibrary()
	if err != nil {
		return cmd, "", err
	}
	tools := filepath.Join(g.cfg.GoRoot, "pkg", "tool", runtime.GOOS+"_"+runtime.GOARCH)
	var files []sandbox.File
	var names []string
	for i, source := range sources {
		names = append(names, fmt.Sprintf("file%d.go", i))
		files = append(files, sandbox.File{Name: names[i], Data: []byte(source)})
	}
	script := fmt.Sprintf("%[1]s/compile -p main -complete -importcfg %[2]s/importcfg -o main.a %[3]s && %[1]s/link -importcfg %[2]s/importcfg -s -w -o main main.a", tools, std, strings.Join(names, " "))
	return g.compile(ctx, sandbox.Command{Args: []string{"/bin/sh", "-c", script}, Env: []string{"GOROOT=" + g.cfg.GoRoot},
		ReadOnly: []string{g.cfg.GoRoot, std}, Files: files})
}
