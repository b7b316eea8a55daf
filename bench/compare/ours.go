package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"time"

	"github.com/gor1/gor1/internal/bench"
	"github.com/gor1/gor1/kernels"
)

// ours is the worker of this library: what r1 bench times, one round a request. Before it times a dtype the same process checks the
// execution contract.
type ours struct {
	dev     *kernels.Device
	kept    map[string]bool // dtypes whose contract holds here
	last    request
	cases   []bench.Case
	series  *bench.Series
	started bool
	rss     int64 // the process's peak before the first measurement of the machine, which takes memory of its own
}

// serveOurs answers the requests of in on out until in ends.
func serveOurs(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	dev, err := kernels.Open("cpu")
	if err != nil {
		return err
	}
	w := &ours{dev: dev, kept: map[string]bool{}}
	defer func() { err = errors.Join(err, bench.CloseAll(w.cases), dev.Close()) }()
	enc := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("compare: request %s: %w", lines.Bytes(), err)
		}
		rows, err := w.measure(ctx, r)
		if err != nil {
			rows = []answer{{Error: err.Error()}}
		}
		for _, row := range rows {
			row.PeakRSS = w.rss
			if err := enc.Encode(row); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(out); err != nil {
			return err
		}
	}
	return nil
}

func (w *ours) measure(ctx context.Context, r request) ([]answer, error) {
	if !w.started || !reflect.DeepEqual(r, w.last) {
		if err := w.prepare(ctx, r); err != nil {
			return nil, err
		}
	}
	results, err := w.series.Round(ctx)
	if err != nil {
		return nil, err
	}
	var rows []answer
	for _, one := range results {
		rows = append(rows, answer{Result: one})
	}
	return rows, nil
}

func (w *ours) prepare(ctx context.Context, r request) error {
	w.started = false
	err := bench.CloseAll(w.cases)
	w.cases = nil
	if err != nil {
		return err
	}
	l := r.load()
	if !w.kept[r.DType] {
		if err := bench.Contract(ctx, w.dev, l.BF16); err != nil {
			return err
		}
		w.kept[r.DType] = true
	}
	if w.cases, err = bench.Cases(w.dev, r.Bench, r.Shape, r.Rows, l); err != nil {
		return err
	}
	w.series, err = bench.NewSeries(ctx, w.dev, w.cases, bench.Options{MinTime: time.Duration(r.MinTime * float64(time.Second)), BF16: l.BF16})
	w.last, w.started, w.rss = r, err == nil, peakRSS()
	return err
}

// peakRSS is the most memory that this process held, in bytes; 0: not known here.
func peakRSS() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(text, []byte("VmHWM:"))
	kb, _, _ := bytes.Cut(rest, []byte("kB"))
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(kb)), 10, 64)
	return n << 10
}
