package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// store is the folder of one repository in the cache.
type store struct {
	cache, dir, locks string
	link              func(target, name string) error
}

func newStore(id string, o Options) store {
	name := string(o.Kind) + "s--" + strings.ReplaceAll(id, "/", "--")
	return store{cache: o.Cache, dir: filepath.Join(o.Cache, name), locks: filepath.Join(o.Cache, ".locks", name), link: o.link}
}

func (c store) blob(etag string) string       { return filepath.Join(c.dir, "blobs", etag) }
func (c store) snapshot(commit string) string { return filepath.Join(c.dir, "snapshots", commit) }
func (c store) ref(revision string) string {
	return filepath.Join(c.dir, "refs", filepath.FromSlash(revision))
}
func (c store) pointer(commit, name string) string {
	return filepath.Join(c.snapshot(commit), filepath.FromSlash(name))
}

// commit is the commit that the cache knows for a revision; empty: none.
func (c store) commit(revision string) (string, error) {
	if commitForm.MatchString(revision) {
		return revision, nil
	}
	text, err := os.ReadFile(c.ref(revision))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	if commit := strings.TrimSpace(string(text)); commitForm.MatchString(commit) {
		return commit, nil
	}
	return "", fmt.Errorf("hub: %s holds %.50q, which is no commit; remove it", c.ref(revision), text)
}

// setCommit notes the commit of a branch or tag.
func (c store) setCommit(revision, commit string) error {
	if known, err := c.commit(revision); err == nil && known == commit {
		return nil // also where the cache cannot be written
	}
	return writeFile(c.ref(revision), []byte(commit))
}

// writeFile writes whole or not at all.
func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("hub: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// treeFile is trees/COMMIT.json, which huggingface_hub 1.33 writes: with it either side knows offline what a whole snapshot is.
type treeFile struct {
	Version int              `json:"format_version"`
	Files   map[string]entry `json:"files"`
}

func (c store) treePath(commit string) string { return filepath.Join(c.dir, "trees", commit+".json") }

// tree reads the list of a commit's files; nil where there is none that can be used.
func (c store) tree(commit string) map[string]entry {
	text, err := os.ReadFile(c.treePath(commit))
	var t treeFile
	if err != nil || json.Unmarshal(text, &t) != nil || t.Version != 1 {
		return nil
	}
	return t.Files
}

func (c store) setTree(commit string, files map[string]entry) error {
	text, err := json.MarshalIndent(treeFile{1, files}, "", " ")
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return writeFile(c.treePath(commit), text)
}

// noExist notes that a commit has no file of the name, so that Python need not ask.
func (c store) noExist(commit, name string) error {
	path := filepath.Join(c.dir, ".no_exist", commit, filepath.FromSlash(name))
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return writeFile(path, nil)
}

// whole says whether a file is there under its name with its length. Its hash was verified before it got the name.
func whole(path string, size int64) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

// tag marks the cache for programs that make backups.
func (c store) tag() error {
	path := filepath.Join(c.cache, "CACHEDIR.TAG")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return writeFile(path, []byte("Signature: 8a477f597d28d172789f06886806bc55\n# A cache of downloads. See https://bford.info/cachedir/\n"))
}

// lock waits for the lock of a blob, which Python takes too. The file stays behind, as Python leaves it: removing it would let two
// in at once.
func (c store) lock(ctx context.Context, etag string) (unlock func() error, err error) {
	path := filepath.Join(c.locks, etag+".lock")
	if err := os.MkdirAll(c.locks, 0o755); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o664)
		if err != nil {
			return nil, fmt.Errorf("hub: %w", err)
		}
		locked, err := tryLock(f)
		if err == nil && locked {
			return f.Close, nil // closing unlocks
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("hub: the lock %s: %w; a folder on a local disk can be locked", path, err)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, fmt.Errorf("hub: waiting for another download of %s: %w", etag, err)
		}
	}
}

// point gives a blob its name in a snapshot: a relative link, or where there are none the file itself (moved, if it has just been
// fetched and nothing else can point at it; copied otherwise), as Python does it.
func (c store) point(etag, commit, name string, fresh bool) error {
	blob, pointer := c.blob(etag), c.pointer(commit, name)
	if err := os.MkdirAll(filepath.Dir(pointer), 0o755); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	target, err := filepath.Rel(filepath.Dir(pointer), blob)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	if have, err := os.Readlink(pointer); err == nil && have == target {
		return nil
	}
	temp := fmt.Sprintf("%s.%d.tmp", pointer, os.Getpid())
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("hub: %w", err)
	}
	switch err := c.link(target, temp); {
	case err == nil:
	case fresh:
		temp = blob
	default:
		if err := copyFile(blob, temp); err != nil {
			return fmt.Errorf("hub: %w", err)
		}
	}
	if err := os.Rename(temp, pointer); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// present lists the files of a snapshot.
func (c store) present(commit string) ([]string, error) {
	var names []string
	dir := c.snapshot(commit)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, p)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hub: %w; it is not in the cache, and offline: run once with a network", err)
	}
	return names, nil
}

// offline gives the snapshot that an older Python, which keeps no list of files, has left: all files wanted by plain name must be
// there, and one for the patterns.
func (c store) offline(commit string, o Options) (string, error) {
	names, err := c.present(commit)
	if err != nil {
		return "", err
	}
	tree := map[string]entry{}
	for _, name := range names {
		tree[name] = entry{}
	}
	_, missing, err := o.choose(filepath.Base(c.dir), tree)
	if err != nil {
		return "", err
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("hub: %s is not in %s, and offline; run once with a network", strings.Join(missing, ", "), c.snapshot(commit))
	}
	return c.snapshot(commit), nil
}
