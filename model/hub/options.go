package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// DefaultEndpoint is the hub that Options.Endpoint means when it is empty.
const DefaultEndpoint = "https://huggingface.co"

// Kind is what a repository holds.
type Kind string

// The kinds of repositories.
const (
	Model   Kind = "model"
	Dataset Kind = "dataset"
)

// Options say where files come from and where they go.
type Options struct {
	Kind     Kind           // what the id is of; empty: Model
	Revision string         // branch, tag or commit; empty: "main"
	Files    []string       // names or patterns (path.Match: * stays within a folder) of the files wanted; empty: ModelFiles for a model, an error for a data set
	Cache    string         // the folder with models--org--name and its like; must be set
	Endpoint string         // of the hub; empty: DefaultEndpoint
	Token    string         // sent to the endpoint only; empty: none
	Offline  bool           // use what is in the cache, and no network
	Parallel int            // files at a time; 0: 4
	Idle     time.Duration  // how long a connection may be silent; 0: a minute
	Client   *http.Client   // its transport is used; nil: http.DefaultTransport, which heeds HTTPS_PROXY
	Progress func(Progress) // called now and then, never twice at once; nil: not

	wait func(context.Context, time.Duration) error // tests do not wait
	link func(target, name string) error            // tests of systems without symbolic links
}

// ModelFiles are the files of a model that anything here reads; pickled weights are not among them, nor is code.
var ModelFiles = []string{"*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "additional_chat_templates/*.jinja", "LICENSE*", "README.md"}

// Progress is how far a download is.
type Progress struct {
	File         string // that moved last
	Files, Done  int
	Bytes, Total int64         // of all files; what was in the cache already counts as done
	Left         time.Duration // at the mean speed so far; negative: not known
}

// complete fills in the defaults and looks at the values.
func (o Options) complete() (Options, error) {
	if o.Kind == "" {
		o.Kind = Model
	}
	if o.Kind != Model && o.Kind != Dataset {
		return o, fmt.Errorf("hub: Options.Kind is %q, want %q or %q", o.Kind, Model, Dataset)
	}
	if o.Revision == "" {
		o.Revision = "main"
	}
	if !safePath(o.Revision) {
		return o, fmt.Errorf("hub: the revision %q is no branch, tag or commit", o.Revision)
	}
	if o.Cache == "" {
		return o, errors.New("hub: Options.Cache is empty; FromEnviron gives the folder that Python uses")
	}
	if o.Endpoint == "" {
		o.Endpoint = DefaultEndpoint
	}
	o.Endpoint = strings.TrimRight(o.Endpoint, "/")
	if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return o, fmt.Errorf("hub: the endpoint %q is no http(s) address", o.Endpoint)
	}
	if strings.ContainsAny(o.Token, " \r\n\t") {
		return o, errors.New("hub: the token has white space in it; give it as it is shown on the settings page")
	}
	if o.Parallel < 0 || o.Idle < 0 {
		return o, fmt.Errorf("hub: Options.Parallel is %d and Options.Idle %v, want none below 0", o.Parallel, o.Idle)
	}
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	if o.Idle == 0 {
		o.Idle = time.Minute
	}
	if o.wait == nil {
		o.wait = sleep
	}
	if o.link == nil {
		o.link = os.Symlink
	}
	return o, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// FromEnviron gives the Options that Python's huggingface_hub would use: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HF_ENDPOINT,
// HF_TOKEN (else the file HF_TOKEN_PATH or HF_HOME/token that `hf auth login` writes), HF_HUB_DISABLE_IMPLICIT_TOKEN,
// HF_HUB_OFFLINE. getenv is os.Getenv in a command.
func FromEnviron(getenv func(string) string) (Options, error) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	user := first("HOME", "USERPROFILE")
	place := func(path string) string {
		path = os.Expand(path, getenv)
		if path == "~" || strings.HasPrefix(path, "~/") {
			return filepath.Join(user, path[1:])
		}
		return path
	}
	home := place(first("HF_HOME"))
	if home == "" {
		cache := place(first("XDG_CACHE_HOME"))
		if cache == "" {
			if user == "" {
				return Options{}, errors.New("hub: neither HF_HOME nor HOME is set; set HF_HOME to a folder for downloads")
			}
			cache = filepath.Join(user, ".cache")
		}
		home = filepath.Join(cache, "huggingface")
	}
	o := Options{Endpoint: first("HF_ENDPOINT"), Cache: place(first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")), Offline: yes(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))}
	if o.Cache == "" {
		o.Cache = filepath.Join(home, "hub")
	}
	if o.Token = strings.TrimSpace(first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")); o.Token != "" || yes(first("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return o, nil
	}
	path := place(first("HF_TOKEN_PATH"))
	if path == "" {
		path = filepath.Join(home, "token")
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return o, fmt.Errorf("hub: the token: %w", err)
	}
	o.Token = strings.TrimSpace(string(text))
	return o, nil
}

// yes is how Python's library reads a variable that is true or not.
func yes(v string) bool {
	switch strings.ToUpper(v) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$`)

// IsID says whether a name has the form of a repository's id, "org/name".
func IsID(name string) bool {
	return idForm.MatchString(name) && !strings.Contains(name, "--") && !strings.Contains(name, "..") && !strings.HasSuffix(name, ".git")
}

// Resolve returns the folder of a model or data set: dirOrID itself where a file or folder is called so, without a look at the
// network, else the folder into which Download has put the files of the id.
func Resolve(ctx context.Context, dirOrID string, o Options) (string, error) {
	_, err := os.Stat(dirOrID)
	if err == nil {
		return dirOrID, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("hub: %w", err)
	}
	if !IsID(dirOrID) {
		return "", fmt.Errorf("hub: %q is no file or folder, nor an id of the form org/name", dirOrID)
	}
	dir, err := Download(ctx, dirOrID, o)
	if err != nil {
		return "", fmt.Errorf("%q is no file or folder here; as an id: %w", dirOrID, err)
	}
	return dir, nil
}
