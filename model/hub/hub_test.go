package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const commit1 = "0123456789abcdef0123456789abcdef01234567"

// fakeHub is a hub with one repository, and faults on request.
type fakeHub struct {
	*httptest.Server
	t     *testing.T
	mu    sync.Mutex
	files map[string][]byte // large ones (over 1 KiB) are listed with SHA-256
	tree  func([]map[string]any) []map[string]any
	fault func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	log   []string                                          // of GET: path and range
}

func newHub(t *testing.T) *fakeHub {
	h := &fakeHub{t: t, files: map[string][]byte{
		"config.json":                       []byte(`{"model_type":"x"}`),
		"model.safetensors":                 bytes.Repeat([]byte("0123456789abcde\n"), 40_000),
		"empty.txt":                         {},
		"pytorch_model.bin":                 []byte("pickle"),
		"sub/dir/notes.txt":                 []byte("not among a model's files"),
		"additional_chat_templates/a.jinja": []byte("{{ a }}"),
	}}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func gitSHA1(b []byte) string {
	return fmt.Sprintf("%x", sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(b)), b...)))
}

func (h *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Method == http.MethodGet { // Python asks with HEAD as well
		h.log = append(h.log, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
	}
	if h.fault != nil && h.fault(w, r) {
		return
	}
	switch path := r.URL.EscapedPath(); {
	case strings.HasPrefix(path, "/api/models/org/name/revision/"):
		_ = json.NewEncoder(w).Encode(map[string]any{"id": "org/name", "sha": commit1, "siblings": []any{}})
	case path == "/api/models/org/name/tree/"+commit1:
		list := []map[string]any{{"type": "directory", "path": "sub", "oid": strings.Repeat("0", 40), "size": 0}}
		for name, b := range h.files {
			e := map[string]any{"type": "file", "path": name, "oid": gitSHA1(b), "size": len(b)}
			if len(b) > 1024 {
				e["lfs"] = map[string]any{"oid": fmt.Sprintf("%x", sha256.Sum256(b)), "size": len(b), "pointerSize": 134}
			}
			list = append(list, e)
		}
		if h.tree != nil {
			list = h.tree(list)
		}
		_ = json.NewEncoder(w).Encode(list)
	case strings.HasPrefix(path, "/org/name/resolve/"+commit1+"/"):
		name := strings.TrimPrefix(path, "/org/name/resolve/"+commit1+"/")
		b, ok := h.files[name]
		if !ok {
			w.Header().Set("X-Error-Code", "EntryNotFound")
			http.Error(w, "", http.StatusNotFound)
			return
		}
		w.Header().Set("X-Repo-Commit", commit1)
		w.Header().Set("ETag", `"`+gitSHA1(b)+`"`)
		if len(b) > 1024 {
			w.Header().Set("X-Linked-Etag", fmt.Sprintf(`"%x"`, sha256.Sum256(b)))
			w.Header().Set("X-Linked-Size", strconv.Itoa(len(b)))
		}
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b)) // ranges and 416 included
	default:
		http.Error(w, "no such page", http.StatusNotFound)
	}
}

// isFile says whether a request is for the content of a file.
func isFile(r *http.Request, name string) bool { return strings.HasSuffix(r.URL.Path, "/"+name) }

// options are of a fresh cache, with no time spent waiting.
func (h *fakeHub) options(waits *[]time.Duration) Options {
	return Options{Cache: h.t.TempDir(), Endpoint: h.URL, wait: func(ctx context.Context, d time.Duration) error {
		if waits != nil {
			*waits = append(*waits, d)
		}
		return ctx.Err()
	}}
}

// requireWhole checks the folder that Download returned.
func (h *fakeHub) requireWhole(o Options, dir string) {
	h.t.Helper()
	require.Equal(h.t, filepath.Join(o.Cache, "models--org--name", "snapshots", commit1), dir)
	for name, b := range h.files {
		got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if path := filepath.Ext(name); path == ".bin" || strings.HasPrefix(name, "sub/") {
			require.ErrorIs(h.t, err, fs.ErrNotExist)
			continue
		}
		require.NoError(h.t, err)
		require.Equal(h.t, b, append([]byte{}, got...), name)
	}
	left, err := filepath.Glob(filepath.Join(o.Cache, "models--org--name", "*", "*.incomplete"))
	require.NoError(h.t, err)
	require.Empty(h.t, left)
}

func TestDownload(t *testing.T) {
	h := newHub(t)
	o := h.options(nil)
	var seen []Progress
	o.Progress = func(p Progress) { seen = append(seen, p) }
	dir, err := Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	h.requireWhole(o, dir)
	last := seen[len(seen)-1]
	require.Equal(t, last.Total, last.Bytes)
	require.Equal(t, 4, last.Files)
	require.Equal(t, 4, last.Done)

	root := filepath.Join(o.Cache, "models--org--name")
	ref, err := os.ReadFile(filepath.Join(root, "refs", "main"))
	require.NoError(t, err)
	require.Equal(t, commit1, string(ref))
	link, err := os.Readlink(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	require.Equal(t, filepath.Join("..", "..", "blobs", gitSHA1(h.files["config.json"])), link)
	link, err = os.Readlink(filepath.Join(dir, "additional_chat_templates", "a.jinja"))
	require.NoError(t, err)
	require.Equal(t, filepath.Join("..", "..", "..", "blobs", gitSHA1([]byte("{{ a }}"))), link)
	_, err = os.Stat(filepath.Join(root, "blobs", fmt.Sprintf("%x", sha256.Sum256(h.files["model.safetensors"]))))
	require.NoError(t, err)

	// Again: one question about the revision. By commit, or offline: none.
	h.log = nil
	_, err = Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	require.Equal(t, []string{"/api/models/org/name/revision/main"}, h.log)
	h.log = nil
	o.Revision = commit1
	_, err = Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	o.Offline, o.Revision = true, ""
	again, err := Resolve(context.Background(), "org/name", o)
	require.NoError(t, err)
	require.Equal(t, dir, again)
	require.Empty(t, h.log)
	require.NotContains(t, strings.Join(h.log, " "), ".bin")
}

// A folder never touches the network, whatever it is called.
func TestFolder(t *testing.T) {
	h := newHub(t)
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll("org/name", 0o755))
	dir, err := Resolve(context.Background(), "org/name", Options{Endpoint: h.URL})
	require.NoError(t, err)
	require.Equal(t, "org/name", dir)
	require.Empty(t, h.log)
	for _, name := range []string{"", "nothing", "a/b/c", "/nothing/here", "../x/y", "./models/x", "org/na--me", "org/name.git", "a\\b"} {
		_, err := Resolve(context.Background(), name, h.options(nil))
		require.ErrorContains(t, err, "no file or folder, nor an id of the form org/name", name)
	}
	_, err = Resolve(context.Background(), "models/typo", h.options(nil))
	require.ErrorContains(t, err, `"models/typo" is no file or folder here; as an id: hub: model models/typo: 404: not found`)
}

// What the server does wrong is survived where that can be done, and the file is right afterwards.
func TestSurvives(t *testing.T) {
	const file = "model.safetensors"
	times := func(n int, f func(w http.ResponseWriter, r *http.Request, b []byte)) func(*fakeHub) {
		return func(h *fakeHub) {
			h.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if !isFile(r, file) || n == 0 {
					return false
				}
				n--
				f(w, r, h.files[file])
				return true
			}
		}
	}
	status := func(code int, header ...string) func(w http.ResponseWriter, r *http.Request, b []byte) {
		return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
	cut := func(w http.ResponseWriter, r *http.Request, b []byte) { // after 1,000 bytes, wherever it began
		from := 0
		if v := r.Header.Get("Range"); v != "" {
			from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(v, "bytes="), "-"))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b)-1, len(b)))
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(b)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(b[from : from+1000])
	}
	for name, c := range map[string]struct {
		fault func(*fakeHub)
		waits []time.Duration
	}{
		"cut once":             {times(1, cut), []time.Duration{time.Second}},
		"cut often":            {times(12, cut), nil},
		"500, 502, then fine":  {times(2, status(502)), []time.Duration{time.Second, 2 * time.Second}},
		"429 in seconds":       {times(1, status(429, "Retry-After", "7")), []time.Duration{7 * time.Second}},
		"429 without":          {times(1, status(429)), []time.Duration{time.Second}},
		"503 with a past date": {times(1, status(503, "Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")), []time.Duration{time.Second}},
		"no ranges": {func(h *fakeHub) {
			first := true
			h.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if !isFile(r, file) {
					return false
				}
				if first {
					first = false
					cut(w, r, h.files[file])
				} else {
					_, _ = w.Write(h.files[file]) // 200, whole, chunked
				}
				return true
			}
		}, []time.Duration{time.Second}},
		"416": {func(h *fakeHub) {
			n := 0
			h.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if !isFile(r, file) {
					return false
				}
				if n++; n == 1 {
					cut(w, r, h.files[file])
				} else if n == 2 {
					w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				} else {
					require.Empty(t, r.Header.Get("Range"))
					return false
				}
				return true
			}
		}, []time.Duration{time.Second, time.Second}},
		"connection refused half-way": {times(2, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = c.Close()
			}
		}), nil},
		"the API is cut": {func(h *fakeHub) {
			n := 0
			h.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if n++; n > 2 {
					return false
				}
				w.Header().Set("Content-Length", "1000")
				_, _ = w.Write([]byte(`{"sha"`))
				return true
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			c.fault(h)
			var waits []time.Duration
			o := h.options(&waits)
			dir, err := Download(context.Background(), "org/name", o)
			require.NoError(t, err)
			h.requireWhole(o, dir)
			if c.waits != nil {
				require.Equal(t, c.waits, waits)
			}
		})
	}
}

// What cannot be survived is an error that says what to do, and nothing wrong stays in the cache.
func TestRefuses(t *testing.T) {
	const file = "model.safetensors"
	answer := func(part string, code int, body string, header ...string) func(*fakeHub) {
		return func(h *fakeHub) {
			h.fault = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, part) {
					return false
				}
				for i := 0; i+1 < len(header); i += 2 {
					w.Header().Set(header[i], header[i+1])
				}
				w.WriteHeader(code)
				_, _ = w.Write([]byte(body))
				return true
			}
		}
	}
	listed := func(path string) func(*fakeHub) {
		return func(h *fakeHub) {
			h.tree = func(l []map[string]any) []map[string]any {
				return append(l, map[string]any{"type": "file", "path": path, "oid": strings.Repeat("a", 40), "size": 3})
			}
		}
	}
	changed := func(f func(e map[string]any)) func(*fakeHub) {
		return func(h *fakeHub) {
			h.tree = func(l []map[string]any) []map[string]any {
				for _, e := range l {
					if e["path"] == file {
						f(e)
					}
				}
				return l
			}
		}
	}
	future := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for name, c := range map[string]struct {
		fault func(*fakeHub)
		says  []string
	}{
		"401":                 {answer("/api/", 401, "", "X-Error-Code", "RepoNotFound", "X-Error-Message", "Invalid username or password."), []string{"401: it does not exist, or is not public", "set HF_TOKEN to a token", "Invalid username"}},
		"403":                 {answer("/api/", 403, ""), []string{"403: access is denied: see", "/org/name"}},
		"gated":               {answer("/resolve/", 403, "", "X-Error-Code", "GatedRepo"), []string{"access must be asked for: accept the conditions at", "/org/name, and set HF_TOKEN"}},
		"404":                 {answer("/api/", 404, ""), []string{"404: not found: look at the spelling"}},
		"no such revision":    {answer("/revision/", 404, "", "X-Error-Code", "RevisionNotFound"), []string{`there is no revision "main"`}},
		"always 500":          {answer("/resolve/", 500, ""), []string{"500: the hub is busy or broken", "gave up after 5 tries"}},
		"wait for an hour":    {answer("/resolve/", 429, "", "Retry-After", future), []string{"429: the hub asks to wait", "try again then"}},
		"a page of a proxy":   {answer("/api/", 200, "<html>log in</html>"), []string{"answers no JSON", "is Options.Endpoint a hub?"}},
		"no commit":           {answer("/api/", 200, `{"sha":"../x"}`), []string{"is no commit"}},
		"page for a file":     {answer("/resolve/", 200, "<html>"), []string{"sends 6 bytes, the hub lists"}},
		"204":                 {answer("/resolve/", 204, ""), []string{"answers 204"}},
		"302 in circles":      {answer("/resolve/", 302, "", "Location", "?"), []string{"10 redirects"}},
		"wrong range":         {answer(file, 206, "x", "Content-Range", "bytes 5-5/640000"), []string{"asked for bytes from 0", `"bytes 5-5/640000"`}},
		"wrong hash":          {changed(func(e map[string]any) { e["lfs"].(map[string]any)["oid"] = strings.Repeat("ab", 32) }), []string{"has the hash", "the hub lists abab"}},
		"too long":            {changed(func(e map[string]any) { e["lfs"].(map[string]any)["size"] = 100 }), []string{"sends 640000 bytes, the hub lists 100"}},
		"too short":           {changed(func(e map[string]any) { e["lfs"].(map[string]any)["size"] = 640001 }), []string{"the hub lists 640001"}},
		"no hash":             {changed(func(e map[string]any) { e["oid"] = "x/../../y" }), []string{"cannot be verified"}},
		"hash is a path":      {changed(func(e map[string]any) { e["lfs"].(map[string]any)["oid"] = "../../../x" }), []string{"cannot be verified"}},
		"negative":            {changed(func(e map[string]any) { e["size"] = -1 }), []string{"cannot be verified"}},
		"up":                  {listed("../x.json"), []string{`"../x.json" is not a relative path`}},
		"up inside":           {listed("a/../../x.json"), []string{"is not a relative path"}},
		"absolute":            {listed("/etc/x.json"), []string{"is not a relative path"}},
		"drive":               {listed("C:x.json"), []string{"is not a relative path"}},
		"backslash":           {listed(`a\..\x.json`), []string{"is not a relative path"}},
		"NUL":                 {listed("a\x00.json"), []string{"is not a relative path"}},
		"not clean":           {listed("a//x.json"), []string{"is not a relative path"}},
		"pickles only":        {func(h *fakeHub) { delete(h.files, file) }, []string{"only as pytorch_model.bin, which can run code"}},
		"GGUF only":           {func(h *fakeHub) { h.files = map[string][]byte{"m.gguf": nil} }, []string{"as GGUF (m.gguf): name one"}},
		"nothing":             {func(h *fakeHub) { h.files = map[string][]byte{"a.json": nil} }, []string{"has no safetensors weights"}},
		"next page elsewhere": {answer("/tree/", 200, `[{"type":"directory"}]`, "Link", `<http://example.com/x>; rel="next"`), []string{"which is not a next page"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			c.fault(h)
			o := h.options(nil)
			_, err := Download(context.Background(), "org/name", o)
			for _, says := range c.says {
				require.ErrorContains(t, err, says)
			}
			_, err = os.Stat(filepath.Join(o.Cache, "models--org--name", "refs", "main"))
			require.ErrorIs(t, err, fs.ErrNotExist)
			blobs, _ := filepath.Glob(filepath.Join(o.Cache, "models--org--name", "blobs", "*"))
			for _, b := range blobs {
				if filepath.Ext(b) == ".incomplete" {
					continue
				}
				text, err := os.ReadFile(b)
				require.NoError(t, err)
				require.Contains(t, []string{gitSHA1(text), fmt.Sprintf("%x", sha256.Sum256(text))}, filepath.Base(b))
			}
		})
	}
}

// The token goes to the endpoint, and to no host that it redirects to; it is in no error.
func TestTokenStays(t *testing.T) {
	h := newHub(t)
	var elsewhere []string
	cdn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Header.Get("Authorization"))
		if r.Header.Get("Range") == "" {
			w.Header().Set("Content-Length", strconv.Itoa(len(h.files["model.safetensors"])))
			_, _ = w.Write(h.files["model.safetensors"][:500])
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.files["model.safetensors"]))
	}))
	defer cdn.Close()
	h.fault = func(w http.ResponseWriter, r *http.Request) bool {
		require.Equal(t, "Bearer hf_secret", r.Header.Get("Authorization"))
		if isFile(r, "model.safetensors") {
			http.Redirect(w, r, cdn.URL+"/signed", http.StatusFound)
			return true
		}
		return false
	}
	o := h.options(nil)
	o.Token = "hf_secret"
	dir, err := Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	h.requireWhole(o, dir)
	require.Equal(t, []string{"", ""}, elsewhere)

	h.fault = func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	o.Cache = t.TempDir()
	_, err = Download(context.Background(), "org/name", o)
	require.ErrorContains(t, err, "the token that was sent does not give access")
	require.NotContains(t, err.Error(), "hf_secret")
}

// A subdomain is another host, which net/http alone would trust.
func TestRedirectToSubdomain(t *testing.T) {
	for to, kept := range map[string]bool{"https://hub.test/x": true, "https://cdn.hub.test/x": false, "http://hub.test/x": false, "https://hub.test:444/x": false} {
		first, err := http.NewRequest(http.MethodGet, "https://hub.test/a", nil)
		require.NoError(t, err)
		next, err := http.NewRequest(http.MethodGet, to, nil)
		require.NoError(t, err)
		next.Header.Set("Authorization", "Bearer x")
		require.NoError(t, redirect(next, []*http.Request{first}))
		require.Equal(t, kept, next.Header.Get("Authorization") != "", to)
	}
}

// What an earlier run has left is gone on with; what is wrong in it is found and fetched again.
func TestResume(t *testing.T) {
	h := newHub(t)
	whole := h.files["model.safetensors"]
	etag := fmt.Sprintf("%x", sha256.Sum256(whole))
	for name, c := range map[string]struct {
		left   []byte
		ranges []string
	}{
		"half":        {whole[:300_000], []string{"bytes=300000-"}},
		"all":         {whole, nil},
		"too long":    {append(bytes.Clone(whole), 'x'), []string{""}},
		"other bytes": {bytes.Repeat([]byte("x"), 1000), []string{"bytes=1000-", ""}},
		"all wrong":   {bytes.Repeat([]byte("x"), len(whole)), []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			o := h.options(nil)
			blobs := filepath.Join(o.Cache, "models--org--name", "blobs")
			require.NoError(t, os.MkdirAll(blobs, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(blobs, etag+".incomplete"), c.left, 0o644))
			h.log = nil
			dir, err := Download(context.Background(), "org/name", o)
			require.NoError(t, err)
			h.requireWhole(o, dir)
			var ranges []string
			for _, line := range h.log {
				if _, r, ok := strings.Cut(line, "model.safetensors"); ok {
					ranges = append(ranges, strings.TrimSpace(r))
				}
			}
			require.Equal(t, c.ranges, ranges)
		})
	}
}

// A run that is stopped leaves what it has, and the next goes on there.
func TestStopped(t *testing.T) {
	h := newHub(t)
	o := h.options(nil)
	ctx, stop := context.WithCancel(context.Background())
	h.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !isFile(r, "model.safetensors") {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(h.files["model.safetensors"])))
		_, _ = w.Write(h.files["model.safetensors"][:200_000])
		w.(http.Flusher).Flush()
		require.Eventually(t, func() bool {
			left, err := filepath.Glob(filepath.Join(o.Cache, "models--org--name", "blobs", "*.incomplete"))
			return err == nil && len(left) == 1 && whole(left[0], 200_000)
		}, 10*time.Second, 5*time.Millisecond)
		stop()
		<-r.Context().Done()
		return true
	}
	o.Parallel = 1
	_, err := Download(ctx, "org/name", o)
	require.ErrorIs(t, err, context.Canceled)
	h.fault, h.log = nil, nil
	dir, err := Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	h.requireWhole(o, dir)
	require.Contains(t, strings.Join(h.log, "\n"), "model.safetensors bytes=200000-")
}

// A silent connection is given up.
func TestIdle(t *testing.T) {
	h := newHub(t)
	n := 0
	h.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !isFile(r, "model.safetensors") {
			return false
		}
		if n++; n > 1 {
			return false
		}
		w.Header().Set("Content-Length", "640000")
		_, _ = w.Write(h.files["model.safetensors"][:10])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	o := h.options(nil)
	o.Idle = 300 * time.Millisecond
	dir, err := Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	h.requireWhole(o, dir)
	require.Equal(t, 2, n)
}

// Eight downloads at once fetch each file once; the empty one needs no request.
func TestTogether(t *testing.T) {
	h := newHub(t)
	o := h.options(nil)
	errs := make(chan error, 8)
	for range 8 {
		go func() {
			_, err := Download(context.Background(), "org/name", o)
			errs <- err
		}()
	}
	for range 8 {
		require.NoError(t, <-errs)
	}
	n := 0
	for _, line := range h.log {
		if strings.Contains(line, "/resolve/") {
			n++
		}
	}
	require.Equal(t, 3, n)
}

// On systems without symbolic links the files themselves lie in the snapshot.
func TestWithoutLinks(t *testing.T) {
	h := newHub(t)
	h.files["twin.json"] = h.files["config.json"]
	o := h.options(nil)
	o.link = func(string, string) error { return errors.New("a privilege is not held") }
	for range 2 {
		dir, err := Download(context.Background(), "org/name", o)
		require.NoError(t, err)
		h.requireWhole(o, dir)
		info, err := os.Lstat(filepath.Join(dir, "config.json"))
		require.NoError(t, err)
		require.True(t, info.Mode().IsRegular())
	}
}

func TestOffline(t *testing.T) {
	h := newHub(t)
	o := h.options(nil)
	o.Offline = true
	_, err := Download(context.Background(), "org/name", o)
	require.ErrorContains(t, err, "is not in "+o.Cache+", and offline; run once with a network")
	o.Offline = false
	dir, err := Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	o.Offline = true
	files, err := Files(context.Background(), "org/name", o)
	require.NoError(t, err)
	require.Contains(t, files, "pytorch_model.bin")

	// Without the list of files, as older Pythons leave the cache.
	require.NoError(t, os.RemoveAll(filepath.Join(o.Cache, "models--org--name", "trees")))
	got, err := Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	require.Equal(t, dir, got)
	o.Files = []string{"config.json", "nothing.json"}
	_, err = Download(context.Background(), "org/name", o)
	require.ErrorContains(t, err, "nothing.json is not in")

	o.Files, o.Offline = nil, false
	_, err = Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "config.json")))
	o.Offline = true
	_, err = Download(context.Background(), "org/name", o)
	require.ErrorContains(t, err, "config.json is missing")

	h.Close()
	o.Offline = false
	_, err = Download(context.Background(), "org/name", o)
	require.ErrorContains(t, err, "the cache has commit "+commit1+": HF_HUB_OFFLINE=1 uses it")
}

func TestFilesAndPatterns(t *testing.T) {
	h := newHub(t)
	o := h.options(nil)
	o.Files = []string{"*.txt", "sub/*/*.txt", "nothing.json"}
	_, err := Download(context.Background(), "org/name", o)
	require.ErrorContains(t, err, "org/name has no file nothing.json at main")
	root := filepath.Join(o.Cache, "models--org--name")
	_, err = os.Stat(filepath.Join(root, ".no_exist", commit1, "nothing.json"))
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "snapshots", commit1, "sub", "dir", "notes.txt"))
	require.NoError(t, err)
	require.Equal(t, h.files["sub/dir/notes.txt"], text)
	for pattern, says := range map[string]string{"pytorch_model.bin": "runs code when it is loaded", "*.bin": "no file of org/name has a name like *.bin", "[": "syntax error"} {
		o.Files = []string{pattern}
		_, err := Download(context.Background(), "org/name", o)
		require.ErrorContains(t, err, says)
	}
	require.NotContains(t, strings.Join(h.log, " "), ".bin")
}

func TestPages(t *testing.T) {
	h := newHub(t)
	h.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/tree/") {
			return false
		}
		if r.URL.Query().Get("cursor") == "" {
			w.Header().Set("Link", fmt.Sprintf(`<%s%s?cursor=2>; rel="next"`, h.URL, r.URL.Path))
			fmt.Fprintf(w, `[{"type":"file","path":"a.json","oid":%q,"size":1}]`, commit1)
		} else {
			fmt.Fprintf(w, `[{"type":"file","path":"b.json","oid":%q,"size":1}]`, commit1)
		}
		return true
	}
	files, err := Files(context.Background(), "org/name", h.options(nil))
	require.NoError(t, err)
	require.Equal(t, []string{"a.json", "b.json"}, files)
}

func TestRevisionAddress(t *testing.T) {
	h := newHub(t)
	o := h.options(nil)
	o.Revision = "refs/pr/1"
	var asked string
	h.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if asked == "" {
			asked = r.URL.EscapedPath()
		}
		return false
	}
	_, err := Download(context.Background(), "org/name", o)
	require.NoError(t, err)
	require.Equal(t, "/api/models/org/name/revision/refs%2Fpr%2F1", asked)
	ref, err := os.ReadFile(filepath.Join(o.Cache, "models--org--name", "refs", "refs", "pr", "1"))
	require.NoError(t, err)
	require.Equal(t, commit1, string(ref))
}

func TestOptions(t *testing.T) {
	for says, o := range map[string]Options{
		"Options.Cache is empty":         {},
		"is no branch, tag or commit":    {Cache: "x", Revision: "../../x"},
		"is no http(s) address":          {Cache: "x", Endpoint: "file:///x"},
		`Kind is "space"`:                {Cache: "x", Kind: "space"},
		"white space":                    {Cache: "x", Token: "a b"},
		"want none below 0":              {Cache: "x", Parallel: -1},
		"name the files of the data set": {Cache: "x", Kind: Dataset},
	} {
		_, err := Download(context.Background(), "org/name", o)
		require.ErrorContains(t, err, says)
	}
	_, err := Download(context.Background(), "gpt2", Options{})
	require.ErrorContains(t, err, `"gpt2" is no id of the form org/name`)
}

func TestFromEnviron(t *testing.T) {
	home := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(home, ".cache", "huggingface"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(home, ".cache", "huggingface", "token"), []byte("hf_file\n"), 0o600))
	join := filepath.Join
	for name, c := range map[string]struct {
		env  map[string]string
		want Options
	}{
		"nothing set": {nil, Options{Cache: join(home, ".cache", "huggingface", "hub"), Token: "hf_file"}},
		"XDG":         {map[string]string{"XDG_CACHE_HOME": "/x"}, Options{Cache: join("/x", "huggingface", "hub")}},
		"HF_HOME":     {map[string]string{"HF_HOME": "~/hf", "HF_TOKEN": " hf_env "}, Options{Cache: join(home, "hf", "hub"), Token: "hf_env"}},
		"all": {map[string]string{"HF_HOME": "/x", "HF_HUB_CACHE": "$HOME/c", "HF_ENDPOINT": "http://h", "HF_HUB_OFFLINE": "on", "HF_TOKEN_PATH": join(home, ".cache", "huggingface", "token")},
			Options{Cache: join(home, "c"), Endpoint: "http://h", Offline: true, Token: "hf_file"}},
		"no token": {map[string]string{"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_HUB_OFFLINE": "0"}, Options{Cache: join(home, ".cache", "huggingface", "hub")}},
	} {
		got, err := FromEnviron(func(n string) string {
			if n == "HOME" {
				return home
			}
			return c.env[n]
		})
		require.NoError(t, err)
		require.Equal(t, c.want, got, name)
	}
	_, err := FromEnviron(func(string) string { return "" })
	require.ErrorContains(t, err, "set HF_HOME")
}
