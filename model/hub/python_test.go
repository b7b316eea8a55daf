package hub

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// python returns the command of a Python with huggingface_hub, or skips.
func python(t *testing.T) string {
	p := os.Getenv("R1_HUB_PYTHON")
	if p == "" {
		const hint = "run .ci/hub/run, or set R1_HUB_PYTHON to a Python with huggingface_hub"
		if strings.Contains(os.Getenv("R1_REQUIRE"), "pip") {
			t.Fatal(hint)
		}
		t.Skip(hint)
	}
	return p
}

// cachePy runs testdata/cache.py on a cache and returns what it prints.
func (h *fakeHub) cachePy(o Options, offline bool, args ...string) *exec.Cmd {
	cmd := exec.Command(python(h.t), append([]string{"testdata/cache.py"}, args...)...)
	cmd.Env = append(os.Environ(), "HF_HUB_CACHE="+o.Cache, "HF_HOME="+filepath.Join(o.Cache, "home"), "HF_ENDPOINT="+h.URL, "HF_HUB_DISABLE_TELEMETRY=1", "HF_HUB_DISABLE_PROGRESS_BARS=1")
	if offline {
		cmd.Env = append(cmd.Env, "HF_HUB_OFFLINE=1")
	}
	cmd.Stderr = os.Stderr
	return cmd
}

// sums are the SHA-256 of the files that Download fetches.
func (h *fakeHub) sums() map[string]string {
	out := map[string]string{}
	for name, b := range h.files {
		if !strings.HasSuffix(name, ".bin") && !strings.HasPrefix(name, "sub/") {
			out[name] = fmt.Sprintf("%x", sha256.Sum256(b))
		}
	}
	return out
}

func (h *fakeHub) requirePython(cmd *exec.Cmd) {
	h.t.Helper()
	text, err := cmd.Output()
	require.NoError(h.t, err)
	var got map[string]string
	require.NoError(h.t, json.Unmarshal(text, &got))
	require.Equal(h.t, h.sums(), got)
}

// What this package caches, Python reads offline.
func TestPythonReads(t *testing.T) {
	python(t)
	h := newHub(t)
	o := h.options(nil)
	_, err := Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	h.log = nil
	h.requirePython(h.cachePy(o, true, "read"))
	require.Empty(t, h.log)
	h.requirePython(h.cachePy(o, false, "fetch")) // nothing is left to fetch
	require.NotContains(t, strings.Join(h.log, "\n"), "/resolve/")
}

// What Python caches, this package reads offline, and adds to.
func TestPythonWrites(t *testing.T) {
	python(t)
	h := newHub(t)
	o := h.options(nil)
	h.requirePython(h.cachePy(o, false, "fetch"))
	h.log = nil
	o.Offline = true
	dir, err := Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	h.requireWhole(o, dir)
	require.Empty(t, h.log)
	o.Offline, o.Files = false, []string{"sub/dir/notes.txt", "config.json"}
	_, err = Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	require.Equal(t, []string{"/api/models/org/name/revision/main", "/org/name/resolve/" + commit1 + "/sub/dir/notes.txt"}, h.log)
}

// While Python holds the lock of a file, a download waits.
func TestPythonLocks(t *testing.T) {
	h := newHub(t)
	o := h.options(nil)
	c := newStore("org/name", Options{Kind: Model, Cache: o.Cache})
	etag := gitSHA1(h.files["config.json"])
	require.NoError(t, os.MkdirAll(c.locks, 0o755))
	cmd := h.cachePy(o, true, "lock", filepath.Join(c.locks, etag+".lock"))
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "locked", strings.TrimSpace(line))

	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err = c.lock(ctx, etag)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = io.WriteString(in, "go on\n")
	require.NoError(t, err)
	unlock, err := c.lock(context.Background(), etag)
	require.NoError(t, err)
	require.NoError(t, unlock())
	require.NoError(t, cmd.Wait())
}
