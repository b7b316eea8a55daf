package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	maxAPI   = 64 << 20  // bytes of one answer
	maxFiles = 1_000_000 // of a repository
)

var (
	commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// entry is one file of a repository at a commit, under the names of the cache's trees/COMMIT.json.
type entry struct {
	Size    int64  `json:"size"`
	Blob    string `json:"blob_id"` // git's SHA-1 of the file, or of the pointer to a large one
	SHA256  string `json:"lfs_sha256,omitempty"`
	LFSSize int64  `json:"lfs_size,omitempty"`
	Xet     string `json:"xet_hash,omitempty"`
}

// etag is the name of the file's content in the cache: its hash.
func (e entry) etag() string {
	if e.SHA256 != "" {
		return e.SHA256
	}
	return e.Blob
}

// bytes is the length of the content.
func (e entry) bytes() int64 {
	if e.SHA256 != "" {
		return e.LFSSize
	}
	return e.Size
}

// check refuses an entry that could leave the cache's folders or cannot be verified.
func (e entry) check(name string) error {
	if !safePath(name) {
		return fmt.Errorf("hub: the file name %q is not a relative path inside the repository; refused", name)
	}
	if !commitForm.MatchString(e.Blob) || e.SHA256 != "" && !sha256Form.MatchString(e.SHA256) || e.Size < 0 || e.LFSSize < 0 {
		return fmt.Errorf("hub: %s is listed with the hash %q and %d bytes, and cannot be verified", name, e.etag(), e.bytes())
	}
	return nil
}

// safePath says whether a name with slashes stays inside the folder it is joined to, on every system.
func safePath(name string) bool {
	return name != "" && utf8.ValidString(name) && len(name) < 1024 && path.Clean(name) == name && filepath.IsLocal(name) && !strings.ContainsAny(name, "\\:\x00") && name != "."
}

// session is one download: the completed options and what was asked for.
type session struct {
	o      Options
	id     string
	client *http.Client
}

func newSession(id string, o Options) *session {
	c := &http.Client{CheckRedirect: redirect}
	if o.Client != nil {
		c.Transport, c.Jar = o.Client.Transport, o.Client.Jar
	}
	return &session{o: o, id: id, client: c}
}

// redirect keeps the token at the host it is meant for. net/http would send it on to subdomains.
func redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("10 redirects")
	}
	if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		req.Header.Del("Authorization")
	}
	return nil
}

// api is the address of the repository in the hub's API.
func (s *session) api(parts ...string) string {
	return s.o.Endpoint + "/api/" + string(s.o.Kind) + "s/" + s.id + "/" + escape(parts...)
}

// file is the address of a file's content at a commit.
func (s *session) file(commit, name string) string {
	prefix := ""
	if s.o.Kind == Dataset {
		prefix = "datasets/"
	}
	return s.o.Endpoint + "/" + prefix + s.id + "/resolve/" + commit + "/" + (&url.URL{Path: name}).EscapedPath()
}

// escape joins parts, each of which may hold slashes that are no separators.
func escape(parts ...string) string {
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// page is the hub's home page of the repository, for messages.
func (s *session) page() string {
	if s.o.Kind == Dataset {
		return s.o.Endpoint + "/datasets/" + s.id
	}
	return s.o.Endpoint + "/" + s.id
}

// commit asks which commit the revision is now.
func (s *session) commit(ctx context.Context) (string, error) {
	var info struct {
		SHA string `json:"sha"`
	}
	if _, err := s.json(ctx, s.api("revision", s.o.Revision), &info); err != nil {
		return "", err
	}
	if !commitForm.MatchString(info.SHA) {
		return "", fmt.Errorf("hub: %s answered %q for the revision %s, which is no commit; is Options.Endpoint a hub?", s.o.Endpoint, info.SHA, s.o.Revision)
	}
	return info.SHA, nil
}

// tree asks for the list of a commit's files, page by page.
func (s *session) tree(ctx context.Context, commit string) (map[string]entry, error) {
	files := map[string]entry{}
	next := s.api("tree", commit) + "?recursive=true&expand=false"
	for next != "" {
		var list []struct {
			Type, Path, OID string
			Size            int64
			XetHash         string
			LFS             *struct {
				OID  string
				Size int64
			}
		}
		header, err := s.json(ctx, next, &list)
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			if f.Type != "file" {
				continue
			}
			e := entry{Size: f.Size, Blob: f.OID, Xet: f.XetHash}
			if f.LFS != nil {
				e.SHA256, e.LFSSize = strings.TrimPrefix(f.LFS.OID, "sha256:"), f.LFS.Size
			}
			if files[f.Path] = e; len(files) > maxFiles {
				return nil, fmt.Errorf("hub: %s lists more than %d files", s.id, maxFiles)
			}
		}
		if next, err = s.nextPage(header, next, len(list)); err != nil {
			return nil, err
		}
	}
	return files, nil
}

var nextLink = regexp.MustCompile(`<([^>]*)>;\s*rel="next"`)

// nextPage is the address of the next page of a list; it must be at the endpoint, which alone may see the token.
func (s *session) nextPage(header http.Header, current string, rows int) (string, error) {
	m := nextLink.FindStringSubmatch(header.Get("Link"))
	if m == nil {
		return "", nil
	}
	if !strings.HasPrefix(m[1], s.o.Endpoint+"/") || m[1] == current || rows == 0 {
		return "", fmt.Errorf("hub: the list of %s goes on at %q, which is not a next page at %s", s.id, m[1], s.o.Endpoint)
	}
	return m[1], nil
}

// json reads an answer of the API.
func (s *session) json(ctx context.Context, address string, v any) (header http.Header, err error) {
	err = s.retry(ctx, func() error {
		resp, watch, err := s.get(ctx, address, 0)
		if err != nil {
			return err
		}
		defer watch.stop()
		defer resp.Body.Close()
		text, err := io.ReadAll(io.LimitReader(watch, maxAPI+1))
		if err != nil {
			return again{watch.explain(fmt.Errorf("hub: %s: %w", address, err))}
		}
		if len(text) > maxAPI {
			return fmt.Errorf("hub: %s answers more than %d bytes", address, maxAPI)
		}
		if err := json.Unmarshal(text, v); err != nil {
			return fmt.Errorf("hub: %s answers no JSON (%.60q): is Options.Endpoint a hub? %w", address, text, err)
		}
		header = resp.Header
		return nil
	})
	return header, err
}
