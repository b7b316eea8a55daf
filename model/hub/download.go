package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// unsafeKinds are files that run code when they are loaded, or may: never fetched.
var unsafeKinds = []string{".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz", ".h5", ".keras", ".msgpack", ".ot", ".mar", ".py", ".pyc", ".so", ".dll", ".dylib", ".exe", ".sh"}

func unsafeFile(name string) bool {
	return slices.Contains(unsafeKinds, strings.ToLower(path.Ext(name)))
}

// Download brings the files of a repository into the cache and returns the folder in which they lie under their names. What is
// there already is not fetched again; a commit whose files are all there needs no network. The folder belongs to the cache: do not
// write into it.
func Download(ctx context.Context, id string, o Options) (string, error) {
	if !IsID(id) {
		return "", fmt.Errorf("hub: %q is no id of the form org/name", id)
	}
	o, err := o.complete()
	if err != nil {
		return "", err
	}
	if len(o.Files) == 0 && o.Kind != Model {
		return "", errors.New("hub: Options.Files is empty; name the files of the data set that are wanted")
	}
	s, c := newSession(id, o), newStore(id, o)
	commit, tree, err := s.list(ctx, c)
	if err != nil {
		return "", err
	}
	if tree == nil {
		return c.offline(commit, o)
	}
	names, missing, err := o.choose(id, tree)
	if err != nil {
		return "", err
	}
	if o.Offline {
		if len(missing) > 0 {
			return "", noFile(id, o, missing)
		}
		for _, name := range names {
			if !whole(c.pointer(commit, name), tree[name].bytes()) {
				return "", fmt.Errorf("hub: %s is not whole in %s (%s is missing), and offline; run once with a network", id, o.Cache, name)
			}
		}
		return c.snapshot(commit), nil
	}
	return c.snapshot(commit), s.fetchAll(ctx, c, commit, tree, names, missing)
}

// Files lists the names of a repository's files at the revision, sorted.
func Files(ctx context.Context, id string, o Options) ([]string, error) {
	if !IsID(id) {
		return nil, fmt.Errorf("hub: %q is no id of the form org/name", id)
	}
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	c := newStore(id, o)
	commit, tree, err := newSession(id, o).list(ctx, c)
	if err != nil {
		return nil, err
	}
	if tree == nil {
		return c.present(commit)
	}
	names := make([]string, 0, len(tree))
	for name := range tree {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, nil
}

// list finds the commit of the revision and the list of its files, nil where the cache has none and there is no network.
func (s *session) list(ctx context.Context, c store) (string, map[string]entry, error) {
	known, err := c.commit(s.o.Revision)
	if err != nil {
		return "", nil, err
	}
	if s.o.Offline {
		if known == "" {
			return "", nil, fmt.Errorf("hub: %s at %q is not in %s, and offline; run once with a network (HF_HUB_OFFLINE=0)", s.id, s.o.Revision, s.o.Cache)
		}
		return known, c.tree(known), nil
	}
	commit := s.o.Revision
	if !commitForm.MatchString(commit) {
		if commit, err = s.commit(ctx); err != nil {
			if _, refused := errors.AsType[*StatusError](err); !refused && known != "" && ctx.Err() == nil {
				err = fmt.Errorf("%w (the cache has commit %s: HF_HUB_OFFLINE=1 uses it)", err, known)
			}
			return "", nil, err
		}
	}
	tree := c.tree(commit)
	if tree == nil {
		if tree, err = s.tree(ctx, commit); err != nil {
			return "", nil, err
		}
		if err := c.setTree(commit, tree); err != nil {
			return "", nil, err
		}
	}
	for name, e := range tree {
		if err := e.check(name); err != nil {
			return "", nil, err
		}
	}
	return commit, tree, nil
}

// choose picks the files that the patterns name, without those that are never fetched, and lists plain names that are not there.
func (o Options) choose(id string, tree map[string]entry) (names, missing []string, err error) {
	patterns := o.Files
	if len(patterns) == 0 {
		patterns = ModelFiles
	}
	chosen := map[string]bool{}
	for _, pattern := range patterns {
		found := false
		for name := range tree {
			match, err := path.Match(pattern, name)
			if err != nil {
				return nil, nil, fmt.Errorf("hub: the pattern %q in Options.Files: %w", pattern, err)
			}
			found = found || match
			if match && !unsafeFile(name) {
				chosen[name] = true
			}
		}
		plain := !strings.ContainsAny(pattern, `*?[\`)
		switch {
		case plain && unsafeFile(pattern):
			return nil, nil, fmt.Errorf("hub: %s of %s runs code when it is loaded, and is never fetched; look for a safetensors version", pattern, id)
		case plain && !found && safePath(pattern):
			missing = append(missing, pattern)
		}
	}
	for name := range chosen {
		names = append(names, name)
	}
	sort.Strings(names)
	if len(o.Files) == 0 {
		missing = nil // README.md is welcome, not needed
		err = weightsAmong(id, names, tree)
	} else if len(missing) == 0 && len(names) == 0 {
		err = fmt.Errorf("hub: no file of %s has a name like %s", id, strings.Join(patterns, ", "))
	}
	return names, missing, err
}

// weightsAmong refuses a model of which no weights can be read.
func weightsAmong(id string, names []string, tree map[string]entry) error {
	if slices.ContainsFunc(names, func(n string) bool { return path.Ext(n) == ".safetensors" }) {
		return nil
	}
	var pickles, gguf []string
	for name := range tree {
		switch {
		case unsafeFile(name) && path.Ext(name) != ".py":
			pickles = append(pickles, name)
		case path.Ext(name) == ".gguf":
			gguf = append(gguf, name)
		}
	}
	sort.Strings(pickles)
	sort.Strings(gguf)
	switch {
	case len(gguf) > 0:
		return fmt.Errorf("hub: %s has its weights as GGUF (%s): name one of the files in Options.Files", id, strings.Join(gguf[:min(3, len(gguf))], ", "))
	case len(pickles) > 0:
		return fmt.Errorf("hub: %s has its weights only as %s, which can run code when loaded and is never fetched; look for a safetensors version of it", id, strings.Join(pickles[:min(3, len(pickles))], ", "))
	}
	return fmt.Errorf("hub: %s has no safetensors weights", id)
}

// fetchAll brings the files into the snapshot, some at a time.
func (s *session) fetchAll(ctx context.Context, c store, commit string, tree map[string]entry, names, missing []string) error {
	bar := &bar{report: s.o.Progress, begun: time.Now(), p: Progress{Files: len(names)}}
	for _, name := range names {
		bar.p.Total += tree[name].bytes()
	}
	if err := c.tag(); err != nil {
		return err
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(s.o.Parallel)
	for _, name := range names {
		g.Go(func() error { return s.fetchFile(inner, c, commit, name, tree[name], bar) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, name := range missing {
		if err := c.noExist(commit, name); err != nil {
			return err
		}
	}
	if s.o.Revision != commit {
		if err := c.setCommit(s.o.Revision, commit); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return noFile(s.id, s.o, missing)
	}
	return nil
}

func noFile(id string, o Options, missing []string) error {
	return &StatusError{http.StatusNotFound, fmt.Sprintf("hub: %s has no file %s at %s", id, strings.Join(missing, ", "), o.Revision)}
}

func (s *session) fetchFile(ctx context.Context, c store, commit, name string, e entry, bar *bar) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if whole(c.pointer(commit, name), e.bytes()) {
		bar.add(name, e.bytes())
		bar.done(name)
		return nil
	}
	unlock, err := c.lock(ctx, e.etag())
	if err != nil {
		return err
	}
	fresh, err := s.fetchBlob(ctx, c, commit, name, e, bar)
	if err == nil {
		err = c.point(e.etag(), commit, name, fresh)
	}
	if err := errors.Join(err, unlock()); err != nil {
		return err
	}
	bar.done(name)
	return nil
}

// bar adds up progress and reports it ten times a second.
type bar struct {
	mu     sync.Mutex
	report func(Progress)
	begun  time.Time
	last   time.Time
	first  int64 // bytes that were there before the first report
	p      Progress
}

func (b *bar) add(name string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.p.Bytes += n
	b.p.File = name
	b.tell(false)
}

func (b *bar) done(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.p.Done++
	b.p.File = name
	b.tell(b.p.Done == b.p.Files)
}

func (b *bar) tell(last bool) {
	now := time.Now()
	if b.report == nil || !last && now.Sub(b.last) < 100*time.Millisecond {
		return
	}
	if b.last.IsZero() {
		b.first, b.begun = b.p.Bytes, now
	}
	b.last = now
	b.p.Left = -1
	if gained := b.p.Bytes - b.first; gained > 0 {
		b.p.Left = time.Duration(float64(now.Sub(b.begun)) * float64(b.p.Total-b.p.Bytes) / float64(gained))
	}
	b.report(b.p)
}
