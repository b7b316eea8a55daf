package pipeline

import (
	"bufio"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gor1/gor1/run"
)

const reportFile = "report.html"

// curveFields are the metrics that a report draws, where a stage has them, with the names of the panels.
var curveFields = []struct{ title, field string }{
	{"reward", "reward"}, {"loss", "loss"}, {"tokens of a completion", "completions/mean_length"}, {"held-out accuracy", "eval_accuracy"}, {"held-out loss", "eval_loss"},
}

// Report writes report.html into the line's directory: one file with the ledger's scores before and after every stage, and each stage's
// curves. It has no script and takes nothing from elsewhere, and follows the reader's light or dark setting.
func (l Line) Report(title string, ledger []Entry) (path string, err error) {
	dir, err := run.Open(l.Dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	path = filepath.Join(l.Dir, reportFile)
	return path, dir.WriteFile(reportFile, func(w io.Writer) error {
		b := bufio.NewWriter(w)
		fmt.Fprintf(b, `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%s</title>
<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#374151;background:#fff}
table{border-collapse:collapse}th,td{padding:.2em .7em;text-align:right;border-bottom:1px solid #e5e7eb}th:first-child,td:first-child{text-align:left}
.scroll{overflow-x:auto}.note{color:#b45309}
@media(prefers-color-scheme:dark){body{color:#d1d5db;background:#0d1117}th,td{border-color:#374151}}
</style></head><body>
<h1>%s</h1>
`, html.EscapeString(title), html.EscapeString(title))
		scoreTable(b, ledger)
		for i, s := range l.Stages {
			at := slices.IndexFunc(ledger, func(e Entry) bool { return e.Stage == s.Name })
			if at < 0 {
				continue
			}
			if err := stageSection(b, l.folder(i), ledger[at]); err != nil {
				return err
			}
		}
		fmt.Fprintln(b, "</body></html>")
		return b.Flush()
	})
}

// scoreTable has a row for every stage that was measured and a column for every score that all of them have.
func scoreTable(w io.Writer, ledger []Entry) {
	var rows []Entry
	columns := map[string]int{}
	for _, e := range ledger {
		rows = append(rows, e)
		for name := range e.Output.Scores {
			columns[name]++
		}
	}
	most := 0
	for _, n := range columns {
		most = max(most, n)
	}
	var names []string
	for name, n := range columns {
		if n == most && most > 1 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	fmt.Fprintf(w, "<h2>Before and after</h2><div class=\"scroll\"><table><tr><th>stage</th>")
	for _, name := range names {
		fmt.Fprintf(w, "<th>%s</th>", html.EscapeString(name))
	}
	fmt.Fprintln(w, "<th>seconds</th></tr>")
	for _, e := range rows {
		if _, measured := e.Output.Scores[first(names)]; !measured && len(names) > 0 {
			continue
		}
		fmt.Fprintf(w, "<tr><td>%s</td>", html.EscapeString(e.Stage))
		for _, name := range names {
			fmt.Fprintf(w, "<td>%s</td>", number(e.Output.Scores[name]))
		}
		fmt.Fprintf(w, "<td>%.0f</td></tr>\n", e.Seconds)
	}
	fmt.Fprintln(w, "</table></div>")
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func stageSection(w io.Writer, dir string, e Entry) error {
	fmt.Fprintf(w, "<h2>%s</h2>\n<p>from %s; %.0f s; %s</p>\n", html.EscapeString(e.Stage), html.EscapeString(strings.Join(e.Inputs, ", ")), e.Seconds, html.EscapeString(e.Hash))
	if e.Note != "" {
		fmt.Fprintf(w, "<p class=\"note\">%s</p>\n", html.EscapeString(e.Note))
	}
	var names []string
	for name := range e.Output.Scores {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = name + " " + number(e.Output.Scores[name])
	}
	fmt.Fprintf(w, "<p>%s</p>\n", html.EscapeString(strings.Join(names, ", ")))
	panels, err := panels(filepath.Join(dir, "metrics.jsonl"))
	if err != nil || len(panels) == 0 {
		return err
	}
	fmt.Fprint(w, "<div class=\"scroll\">")
	if err := run.Curves(w, e.Stage, panels); err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, "</div>")
	return err
}

// panels are the curves of a stage's metrics; none where it has no metrics.
func panels(path string) ([]run.Panel, error) {
	metrics, err := run.ReadMetrics(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	lines := make([]run.Line, len(curveFields))
	for i, c := range curveFields {
		lines[i] = run.Line{X: metrics[c.field].X, Y: metrics[c.field].Y}
	}
	var out []run.Panel
	for i, c := range curveFields {
		if n := len(lines[i].X); n > 1 && !(c.field == "loss" && len(lines[0].X) > 1) { // GRPO's loss says nothing
			if n > 40 {
				lines[i].Y = run.Smooth(lines[i].Y, 7)
			}
			out = append(out, run.Panel{Title: c.title, Lines: []run.Line{lines[i]}})
		}
	}
	return out, nil
}
