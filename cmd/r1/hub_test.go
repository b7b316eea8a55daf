package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serveModel is a hub with one model, a folder of the goldens.
func serveModel(t *testing.T, dir string) (endpoint string, asked *[]string) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	asked = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Path)
		name, isFile := strings.CutPrefix(r.URL.Path, "/org/qwen/resolve/"+commit+"/")
		switch {
		case r.URL.Path == "/api/models/org/qwen/revision/v1":
			fmt.Fprintf(w, `{"sha":%q}`, commit)
		case r.URL.Path == "/api/models/org/qwen/tree/"+commit:
			var list []map[string]any
			for _, name := range []string{"config.json", "model.safetensors"} {
				b, err := os.ReadFile(filepath.Join(dir, name))
				require.NoError(t, err)
				oid := fmt.Sprintf("%x", sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(b)), b...)))
				list = append(list, map[string]any{"type": "file", "path": name, "oid": oid, "size": len(b)})
			}
			require.NoError(t, json.NewEncoder(w).Encode(list))
		case isFile:
			b, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(b))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// --model takes an id: downloaded once, then found without a network.
func TestModelFromHub(t *testing.T) {
	dir := filepath.Join(goldens, "qwen2")
	endpoint, asked := serveModel(t, dir)
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_HUB_CACHE", "")
	t.Setenv("HF_TOKEN", "")
	t.Setenv("HF_ENDPOINT", endpoint)
	code, out, stderr := callWith("", "info", "org/qwen", "--revision", "v1")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "qwen2")
	require.NotContains(t, strings.Join(*asked, " "), "safetensors", "info needs the configuration only")

	ids := `{"ids":[1,2,3]}`
	_, want, _ := callWith(ids, "score", "--model", dir)
	code, got, stderr := callWith(ids, "score", "--model", "org/qwen", "--revision", "v1")
	require.Zero(t, code, stderr)
	require.Equal(t, want, got)
	t.Setenv("HF_HUB_OFFLINE", "1")
	*asked = nil
	code, got, stderr = callWith(ids, "score", "--model", "org/qwen", "--revision", "v1")
	require.Zero(t, code, stderr)
	require.Equal(t, want, got)
	require.Empty(t, *asked)
	code, _, stderr = callWith(ids, "score", "--model", "org/typo")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, `"org/typo" is no file or folder here; as an id: hub: org/typo at "main" is not in`)
}
