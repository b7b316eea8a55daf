package pipeline

import (
	"bytes"
	"context"
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
	"time"

	"github.com/gor1/gor1/run"
)

// Line is stages in order over one directory: R1's recipe is one. What was done is in ledger.jsonl, one line a stage; a line that was
// killed at any instant goes on where it was, and ends with the bytes of one that was not.
type Line struct {
	Dir    string
	Base   string // the model folder that stages start from which name no other
	Stages []Stage
	// Measure judges a model folder on the same held-out set after every stage, and the base before the first; nil: nobody does.
	Measure func(ctx context.Context, model string) (map[string]float64, error)
	// Again is the name of the first stage to do again, with all that follow; empty: what was done stays done.
	Again string
	Watch func(e Entry, done bool) // is told of a stage that begins and of its end; nil: nobody
}

// Stage is a name, what it takes, and a function.
type Stage struct {
	Name   string
	From   []From // what it takes; the first is the model it starts from, where it trains one
	Config any    // what it is a function of besides, as JSON
	Run    func(ctx context.Context, dir *run.Run, in []string) (Output, error)
	Gate   func(Output) error // what its output must be for the line to go on; nil: anything
	Data   bool               // the output is no model: it is not measured
}

// From is the output of an earlier stage, or the base where Stage is empty. A run that collapsed gives its best checkpoint even where
// the last was asked for.
type From struct {
	Stage string
	Best  bool
}

// String is the input as a plan shows it.
func (f From) String() string {
	switch {
	case f.Stage == "":
		return "base"
	case f.Best:
		return f.Stage + "@best"
	}
	return f.Stage
}

// Output is what a stage leaves: folders or files, and numbers for the ledger.
type Output struct {
	Last      string             `json:"last"`
	Best      string             `json:"best,omitempty"`      // empty: the last
	Collapsed string             `json:"collapsed,omitempty"` // why the last one is not to be used; empty: it is
	Scores    map[string]float64 `json:"scores,omitempty"`
}

// Entry is a line of the ledger. Paths are relative to the line's directory where they lie in it.
type Entry struct {
	Stage   string   `json:"stage"`
	Key     string   `json:"key"` // of name, configuration and inputs
	Inputs  []string `json:"inputs"`
	Note    string   `json:"note,omitempty"` // what was not as asked for
	Output  Output   `json:"output"`
	Hash    string   `json:"hash"` // of the last output's content
	BestSum string   `json:"best_hash,omitempty"`
	Seconds float64  `json:"seconds"` // of the process that ended it
}

// BaseEntry is the name of the ledger's first line where a line measures: the base as it was.
const BaseEntry = "base"

const ledgerFile = "ledger.jsonl"

// ErrGate is wrapped by the error of a line whose gate refused a stage's output.
var ErrGate = errors.New("the gate refused the stage's output")

// Run does the stages that are not done and returns the ledger.
func (l Line) Run(ctx context.Context) (ledger []Entry, err error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	dir, err := run.Open(l.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if ledger, err = ReadLedger(l.Dir); err != nil {
		return nil, err
	}
	if ledger, err = l.rewind(dir, ledger); err != nil {
		return ledger, err
	}
	if ledger, err = l.measureBase(ctx, dir, ledger); err != nil {
		return ledger, err
	}
	for i, s := range l.Stages {
		e, err := l.begin(s, ledger)
		if err != nil {
			return ledger, err
		}
		if at := slices.IndexFunc(ledger, func(x Entry) bool { return x.Stage == s.Name }); at >= 0 {
			if ledger[at].Key != e.Key {
				return ledger, fmt.Errorf("pipeline: stage %s was done with another configuration or other inputs (%s); do it again, and what follows, with --from %s", s.Name, l.Dir, s.Name)
			}
			if err := s.gate(ledger[at].Output); err != nil { // a gate may have changed since
				return ledger, err
			}
			continue
		}
		if l.Watch != nil {
			l.Watch(e, false)
		}
		if err := l.do(ctx, i, &e); err != nil {
			return ledger, err
		}
		ledger = append(ledger, e)
		if err := writeLedger(dir, ledger); err != nil {
			return ledger, err
		}
		if l.Watch != nil {
			l.Watch(e, true)
		}
		if err := s.gate(e.Output); err != nil {
			return ledger, err
		}
	}
	return ledger, nil
}

func (s Stage) gate(o Output) error {
	if s.Gate == nil {
		return nil
	}
	if err := s.Gate(o); err != nil {
		return fmt.Errorf("pipeline: stage %s: %w: %w; change the stage, or its gate, and do it again with --from %s", s.Name, ErrGate, err, s.Name)
	}
	return nil
}

func (l Line) check() error {
	seen := map[string]bool{"": true}
	for _, s := range l.Stages {
		if s.Name == "" || s.Name == BaseEntry || filepath.Base(s.Name) != s.Name || seen[s.Name] || s.Run == nil {
			return fmt.Errorf("pipeline: stage %q: want a name of its own that can be a folder's, and a function", s.Name)
		}
		for _, f := range s.From {
			if !seen[f.Stage] {
				return fmt.Errorf("pipeline: stage %s takes the output of %q, which is no stage before it", s.Name, f.Stage)
			}
		}
		seen[s.Name] = true
	}
	if !seen[l.Again] {
		return fmt.Errorf("pipeline: there is no stage %q to do again", l.Again)
	}
	return nil
}

// rewind forgets the stage Again and all after it.
func (l Line) rewind(dir *run.Run, ledger []Entry) ([]Entry, error) {
	if l.Again == "" {
		return ledger, nil
	}
	from := slices.IndexFunc(l.Stages, func(s Stage) bool { return s.Name == l.Again })
	kept := slices.DeleteFunc(slices.Clone(ledger), func(e Entry) bool {
		return slices.ContainsFunc(l.Stages[from:], func(s Stage) bool { return s.Name == e.Stage })
	})
	if err := writeLedger(dir, kept); err != nil { // first: a folder without an entry is a stage that was killed
		return ledger, err
	}
	for i := from; i < len(l.Stages); i++ {
		if err := os.RemoveAll(l.folder(i)); err != nil {
			return kept, fmt.Errorf("pipeline: %w", err)
		}
	}
	return kept, nil
}

func (l Line) folder(i int) string {
	return filepath.Join(l.Dir, fmt.Sprintf("%02d-%s", i+1, l.Stages[i].Name))
}

func (l Line) measureBase(ctx context.Context, dir *run.Run, ledger []Entry) ([]Entry, error) {
	if l.Measure == nil || l.Base == "" || len(ledger) > 0 {
		return ledger, nil
	}
	started := time.Now()
	scores, err := l.Measure(ctx, l.Base)
	if err != nil {
		return ledger, err
	}
	hash, err := contentHash(l.Base)
	if err != nil {
		return ledger, err
	}
	e := Entry{Stage: BaseEntry, Output: Output{Last: l.Base, Scores: scores}, Hash: hash, Seconds: time.Since(started).Seconds()}
	if l.Watch != nil {
		l.Watch(e, true)
	}
	return append(ledger, e), writeLedger(dir, append(ledger, e))
}

// begin finds a stage's inputs and the key of what it is a function of.
func (l Line) begin(s Stage, ledger []Entry) (Entry, error) {
	e := Entry{Stage: s.Name}
	var sums []string
	for _, f := range s.From {
		path, sum, note, err := l.take(f, ledger)
		if err != nil {
			return e, err
		}
		if note != "" {
			e.Note = note
		}
		e.Inputs, sums = append(e.Inputs, path), append(sums, sum)
	}
	text, err := json.Marshal([]any{s.Name, s.Config, sums})
	if err != nil {
		return e, fmt.Errorf("pipeline: stage %s: %w", s.Name, err)
	}
	sum := sha256.Sum256(text)
	e.Key = hex.EncodeToString(sum[:8])
	return e, nil
}

// take is the path and the content's hash of an input.
func (l Line) take(f From, ledger []Entry) (path, sum, note string, err error) {
	if f.Stage == "" {
		sum, err = contentHash(l.Base)
		return l.Base, sum, "", err
	}
	e := ledger[slices.IndexFunc(ledger, func(e Entry) bool { return e.Stage == f.Stage })]
	if e.Output.Best != "" && (f.Best || e.Output.Collapsed != "") {
		if !f.Best {
			note = fmt.Sprintf("%s collapsed (%s): its best checkpoint was taken", f.Stage, e.Output.Collapsed)
		}
		return e.Output.Best, e.BestSum, note, nil
	}
	return e.Output.Last, e.Hash, "", nil
}

// do runs a stage and completes its entry.
func (l Line) do(ctx context.Context, i int, e *Entry) (err error) {
	s, started := l.Stages[i], time.Now()
	dir, err := run.Open(l.folder(i))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	in := make([]string, len(e.Inputs))
	for i, p := range e.Inputs {
		in[i] = l.Path(p)
	}
	out, err := s.Run(ctx, dir, in)
	if err != nil {
		return fmt.Errorf("pipeline: stage %s: %w", s.Name, err)
	}
	if out.Last == "" {
		return fmt.Errorf("pipeline: stage %s left no output", s.Name)
	}
	if l.Measure != nil && !s.Data {
		model := out.Last
		if out.Collapsed != "" && out.Best != "" {
			model = out.Best
		}
		scores, err := l.Measure(ctx, model)
		if err != nil {
			return err
		}
		if out.Scores == nil {
			out.Scores = map[string]float64{}
		}
		for name, v := range scores {
			out.Scores[name] = v
		}
	}
	if e.Hash, err = contentHash(out.Last); err != nil {
		return err
	}
	if out.Best != "" {
		if e.BestSum, err = contentHash(out.Best); err != nil {
			return err
		}
	}
	out.Last, out.Best = l.relative(out.Last), l.relative(out.Best)
	e.Output, e.Seconds = out, time.Since(started).Seconds()
	return nil
}

// Path is where a ledger's path is.
func (l Line) Path(p string) string {
	if p == "" || filepath.IsAbs(p) || p == l.Base {
		return p
	}
	return filepath.Join(l.Dir, p)
}

func (l Line) relative(p string) string {
	if r, err := filepath.Rel(l.Dir, p); p != "" && err == nil && filepath.IsLocal(r) {
		return r
	}
	return p
}

// ReadLedger reads what was done in a line's directory; nothing where there is no ledger.
func ReadLedger(dir string) ([]Entry, error) {
	path := filepath.Join(dir, ledgerFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	var out []Entry
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		var e Entry
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("pipeline: %s, entry %d: %w", path, len(out)+1, err)
		}
		out = append(out, e)
	}
}

func writeLedger(dir *run.Run, ledger []Entry) error {
	return dir.WriteFile(ledgerFile, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, e := range ledger {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// contentHash is a hash of a file, or of the names and bytes of a folder's files. Of a checkpoint the manifest has them all.
func contentHash(path string) (string, error) {
	h := sha256.New()
	root := path
	if manifest := filepath.Join(path, "MANIFEST.json"); exists(manifest) {
		path = manifest
	}
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		r, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintf(h, "%d %s\n", len(r), r)
		_, err = io.Copy(h, f)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("pipeline: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
