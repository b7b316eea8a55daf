package traces

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Journal is a file of what was paid for: one line a question, on disk before the next thing happens. One process may have it open; package
// run's lock sees to that. It is safe from any number of goroutines.
type Journal struct {
	file *os.File
	end  int64 // of what is on disk

	mu      sync.Mutex
	records map[string]place
	adds    chan addition
	stopped chan struct{}
}

// place is where a record is in the file.
type place struct {
	offset int64
	length int
	failed bool
}

// record is one line: an answer, or why there will be none.
type record struct {
	Key    string  `json:"key"`
	ID     string  `json:"id,omitempty"`
	Sample int     `json:"sample,omitempty"`
	Answer *Answer `json:"answer,omitempty"`
	Failed string  `json:"failed,omitempty"`
}

type addition struct {
	record record
	line   []byte
	done   chan error
}

// OpenJournal opens a journal, or makes one. A last line that a crash cut short is taken off; any other line that cannot be read is an error.
func OpenJournal(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	j := &Journal{file: f, records: map[string]place{}, adds: make(chan addition), stopped: make(chan struct{})}
	if err := j.read(path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil { // the file's name, too, is to outlast a crash; not every system can say so
		_ = dir.Sync()
		_ = dir.Close()
	}
	go j.write()
	return j, nil
}

func (j *Journal) read(path string) error {
	in := bufio.NewReaderSize(j.file, 1<<20)
	for line := 1; ; line++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("traces: %w", err)
		}
		var r record
		if err := json.Unmarshal(text, &r); err != nil || r.Key == "" || (r.Answer == nil) == (r.Failed == "") {
			return fmt.Errorf("traces: %s:%d is no record of an answer (%v); it was paid for: mend the line, or take it out to ask again", path, line, err)
		}
		j.records[r.Key] = place{j.end, len(text), r.Failed != ""}
		j.end += int64(len(text))
	}
	if err := j.file.Truncate(j.end); err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	return nil
}

// write puts additions on disk, as many at a time as have come meanwhile. It ends when there will be no more.
func (j *Journal) write() {
	defer close(j.stopped)
	for first := range j.adds {
		batch := []addition{first}
		for more := true; more; {
			select {
			case a, ok := <-j.adds:
				if more = ok; ok {
					batch = append(batch, a)
				}
			default:
				more = false
			}
		}
		var text bytes.Buffer
		for _, a := range batch {
			text.Write(a.line)
		}
		_, err := j.file.WriteAt(text.Bytes(), j.end)
		if err == nil {
			err = j.file.Sync()
		}
		if err != nil {
			err = errors.Join(fmt.Errorf("traces: %w", err), j.file.Truncate(j.end))
		}
		j.mu.Lock()
		for _, a := range batch {
			if err == nil {
				j.records[a.record.Key] = place{j.end, len(a.line), a.record.Failed != ""}
				j.end += int64(len(a.line))
			}
		}
		j.mu.Unlock()
		for _, a := range batch {
			a.done <- err
		}
	}
}

// add returns when the record is on disk.
func (j *Journal) add(r record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	a := addition{r, append(line, '\n'), make(chan error, 1)}
	j.adds <- a
	return <-a.done
}

// look says whether a question has a record, and whether it is that of a failure.
func (j *Journal) look(key string) (known, failed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, known := j.records[key]
	return known, p.failed
}

// Answer is the answer to the question of that key; false: there is none.
func (j *Journal) Answer(key string) (Answer, bool, error) {
	j.mu.Lock()
	p, ok := j.records[key]
	j.mu.Unlock()
	if !ok || p.failed {
		return Answer{}, false, nil
	}
	text := make([]byte, p.length)
	if _, err := j.file.ReadAt(text, p.offset); err != nil {
		return Answer{}, false, fmt.Errorf("traces: %w", err)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil || r.Answer == nil {
		return Answer{}, false, fmt.Errorf("traces: the journal changed while it was open: %w", err)
	}
	return *r.Answer, true, nil
}

// Close closes the file. Nothing may be added then.
func (j *Journal) Close() error {
	close(j.adds)
	<-j.stopped
	if err := j.file.Close(); err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	return nil
}
