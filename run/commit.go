package run

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// fileSum is one file of a manifest.
type fileSum struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Commit makes checkpoint-<step>: write fills a temporary folder, whose files are then synced to disk, summed into
// MANIFEST.json, and renamed into place; the metrics so far are synced first. A reader, and a process that starts after a crash, sees the
// whole checkpoint or none. A checkpoint of that step that is there already is replaced.
func (r *Run) Commit(step int64, write func(dir string) error) (err error) {
	name := checkpoint + strconv.FormatInt(step, 10)
	final := filepath.Join(r.dir, name)
	tmp, err := os.MkdirTemp(r.dir, temporary+name+"-")
	if err != nil {
		return fmt.Errorf("run: commit: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("run: commit of step %d: %w; what was there before is untouched", step, err), os.RemoveAll(tmp))
		}
	}()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := write(tmp); err != nil {
		return err
	}
	if err := errors.Join(seal(tmp), r.metrics.Sync()); err != nil {
		return err
	}
	old := ""
	if _, err := os.Stat(final); err == nil {
		old = tmp + "-old"
		if err := os.Rename(final, old); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, final); err != nil {
		if old != "" {
			err = errors.Join(err, os.Rename(old, final))
		}
		return err
	}
	if err := syncDir(r.dir); err != nil {
		return err
	}
	r.whole[step] = true
	if old != "" {
		return os.RemoveAll(old)
	}
	return nil
}

// seal writes the manifest of a folder and syncs its files and all its folders.
func seal(dir string) error {
	sums := map[string]fileSum{}
	var folders []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			folders = append(folders, path)
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		sums[filepath.ToSlash(rel)], err = sumAndSync(path)
		return err
	})
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(map[string]any{"files": sums}, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, manifest)
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return err
	}
	if _, err := sumAndSync(path); err != nil {
		return err
	}
	for _, folder := range slices.Backward(folders) {
		if err := syncDir(folder); err != nil {
			return err
		}
	}
	return nil
}

func sumAndSync(path string) (fileSum, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fileSum{}, err
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fileSum{}, err
	}
	return fileSum{n, hex.EncodeToString(h.Sum(nil))}, nil
}

// Verify checks a checkpoint folder against its manifest: every file that was written is there and whole. Other files are not looked at. The
// error names the first file that is not as it was written.
func Verify(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, manifest))
	if err != nil {
		return fmt.Errorf("run: %s has no manifest: %w", dir, err)
	}
	var m struct {
		Files map[string]fileSum `json:"files"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("run: %s: %s: %w", dir, manifest, err)
	}
	names := make([]string, 0, len(m.Files))
	for name := range m.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	defer root.Close()
	for _, name := range names {
		f, err := root.Open(filepath.FromSlash(name))
		if err != nil {
			return fmt.Errorf("run: %s: %w", dir, err)
		}
		h := sha256.New()
		n, err := io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("run: %s: %s: %w", dir, name, err)
		}
		if want := m.Files[name]; n != want.Bytes || hex.EncodeToString(h.Sum(nil)) != want.SHA256 {
			return fmt.Errorf("run: %s: %s is not what was written: %d bytes, want %d with another SHA-256", dir, name, n, want.Bytes)
		}
	}
	return nil
}

// Checkpoints lists the steps that have a checkpoint, ascending; they may be damaged (Verify tells).
func (r *Run) Checkpoints() ([]int64, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	var steps []int64
	for _, e := range entries {
		if n, ok := strings.CutPrefix(e.Name(), checkpoint); ok && e.IsDir() {
			if step, err := strconv.ParseInt(n, 10, 64); err == nil {
				steps = append(steps, step)
			}
		}
	}
	slices.Sort(steps)
	return steps, nil
}

// Path is the folder of a step's checkpoint.
func (r *Run) Path(step int64) string {
	return filepath.Join(r.dir, checkpoint+strconv.FormatInt(step, 10))
}

// Latest is the newest checkpoint that is whole. Damaged ones are passed over and named in skipped; ok is false where there
// is none.
func (r *Run) Latest() (step int64, skipped []error, ok bool, err error) {
	steps, err := r.Checkpoints()
	if err != nil {
		return 0, nil, false, err
	}
	for _, s := range slices.Backward(steps) {
		delete(r.whole, s)
		if err := r.verify(s); err != nil {
			skipped = append(skipped, err)
			continue
		}
		return s, skipped, true, nil
	}
	return 0, skipped, false, nil
}

// verify verifies a checkpoint that this process neither wrote nor has verified: those of a large model take seconds to read.
func (r *Run) verify(step int64) error {
	if r.whole[step] {
		return nil
	}
	err := Verify(r.Path(step))
	r.whole[step] = err == nil
	return err
}

// Keep removes all but the newest n whole checkpoints and those of the steps in also. A damaged one goes too once n whole ones
// are there.
func (r *Run) Keep(n int, also ...int64) error {
	steps, err := r.Checkpoints()
	if err != nil {
		return err
	}
	whole := 0
	for _, s := range slices.Backward(steps) {
		if keep := slices.Contains(also, s); keep || whole < n {
			if r.verify(s) == nil {
				whole++
			}
			continue
		}
		gone := filepath.Join(r.dir, temporary+"gone-"+strconv.FormatInt(s, 10))
		if err := os.Rename(r.Path(s), gone); err != nil {
			return fmt.Errorf("run: %w", err)
		}
		delete(r.whole, s)
		if err := os.RemoveAll(gone); err != nil {
			return fmt.Errorf("run: %w", err)
		}
	}
	return nil
}

// WriteFile makes a file of the run, with its folder; it is there whole or not at all. name is relative to the run's directory.
func (r *Run) WriteFile(name string, write func(w io.Writer) error) (err error) {
	path := filepath.Join(r.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	f, err := os.CreateTemp(r.dir, temporary+"file-")
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	w := bufio.NewWriter(f)
	err = errors.Join(write(w), w.Flush(), f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("run: %s: %w", name, errors.Join(err, os.Remove(f.Name())))
	}
	return syncDir(filepath.Dir(path))
}
