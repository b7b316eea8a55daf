package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"strings"
)

// Panel is one chart of a picture.
type Panel struct {
	Title string
	Lines []Line
}

// Line is one curve. NaN breaks it.
type Line struct {
	Name string
	X, Y []float64
}

// ReadMetrics reads a run's metrics.jsonl: each number's steps and values, by its name.
func ReadMetrics(path string) (map[string]Line, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	defer f.Close()
	lines := map[string]Line{}
	d := json.NewDecoder(f)
	for {
		var m map[string]any
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return lines, nil
		} else if err != nil {
			return nil, fmt.Errorf("run: %s: %w", path, err)
		}
		step, _ := m["step"].(float64)
		for name, v := range m {
			if v, ok := v.(float64); ok && name != "step" {
				l := lines[name]
				lines[name] = Line{Name: name, X: append(l.X, step), Y: append(l.Y, v)}
			}
		}
	}
}

const (
	panelW, panelH = 360, 220
	padL, padR     = 46, 14
	padT, padB     = 34, 30
)

var lineColours = []string{"#2563eb", "#d97706", "#059669", "#be185d", "#7c3aed", "#0891b2"}

// WriteCurves writes panels side by side as one SVG file: no script, no font, nothing from elsewhere; it follows the
// reader's light or dark setting.
func WriteCurves(path, title string, panels []Panel) error {
	var b strings.Builder
	if err := Curves(&b, title, panels); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

// Curves writes the picture of [WriteCurves] into a page.
func Curves(to io.Writer, title string, panels []Panel) error {
	var b strings.Builder
	w, h := panelW*len(panels)+20, panelH+44
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">
<title>%s</title>
<style>
text{font:12px system-ui,sans-serif;fill:#374151}.t{font-weight:600;font-size:14px}.g{stroke:#e5e7eb}.b{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#d1d5db}.g{stroke:#374151}.b{fill:#0d1117}}
path{fill:none;stroke-width:1.8;stroke-linejoin:round}
</style>
<rect class="b" width="%d" height="%d"/>
<text class="t" x="16" y="24">%s</text>
`, w, h, w, h, html.EscapeString(title), w, h, html.EscapeString(title))
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d,36)">`+"\n", 10+i*panelW)
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	if _, err := io.WriteString(to, b.String()); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

func (p Panel) draw(b *strings.Builder) {
	x0, x1 := bounds(p.Lines, func(l Line) []float64 { return l.X })
	y0, y1 := bounds(p.Lines, func(l Line) []float64 { return l.Y })
	y0 = math.Min(y0, 0)
	step := niceStep((y1 - y0) / 4)
	y1 = math.Ceil(y1/step) * step
	px := func(x float64) float64 { return padL + (x-x0)/(x1-x0)*(panelW-padL-padR) }
	py := func(y float64) float64 { return panelH - padB - (y-y0)/(y1-y0)*(panelH-padT-padB) }
	fmt.Fprintf(b, `<text x="%d" y="14" class="t">%s</text>`+"\n", padL, html.EscapeString(p.Title))
	for y := y0; y <= y1+step/2; y += step {
		fmt.Fprintf(b, `<line class="g" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			padL, panelW-padR, py(y), py(y), padL-6, py(y)+4, label(y))
	}
	for i := range 5 {
		x := x0 + (x1-x0)*float64(i)/4
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", px(x), panelH-padB+18, label(math.Round(x)))
	}
	at := float64(padL)
	for i, l := range p.Lines {
		colour := lineColours[i%len(lineColours)]
		fmt.Fprintf(b, `<path stroke="%s" d="`, colour)
		pen := "M"
		for j := range l.X {
			if math.IsNaN(l.Y[j]) {
				pen = "M"
				continue
			}
			fmt.Fprintf(b, "%s%.1f %.1f", pen, px(l.X[j]), py(l.Y[j]))
			pen = "L"
		}
		b.WriteString(`"/>` + "\n")
		if len(p.Lines) > 1 {
			fmt.Fprintf(b, `<text x="%.0f" y="28" style="fill:%s">%s</text>`+"\n", at, colour, html.EscapeString(l.Name))
			at += 8*float64(len(l.Name)) + 14
		}
	}
}

func bounds(lines []Line, of func(Line) []float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		for _, v := range of(l) {
			if !math.IsNaN(v) {
				lo, hi = math.Min(lo, v), math.Max(hi, v)
			}
		}
	}
	if !(lo < hi) {
		if math.IsInf(lo, 0) {
			return 0, 1
		}
		return lo - 0.5, lo + 0.5
	}
	return lo, hi
}

// niceStep is 1, 2 or 5 times a power of ten, at least x.
func niceStep(x float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= x {
			return m * p
		}
	}
	return 10 * p
}

func label(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.4g", v+0), ".") }

// Smooth is the mean of up to n values around each; NaN values are left out.
func Smooth(y []float64, n int) []float64 {
	out := make([]float64, len(y))
	for i := range y {
		sum, count := 0.0, 0.0
		for j := max(0, i-n/2); j <= min(len(y)-1, i+n/2); j++ {
			if !math.IsNaN(y[j]) {
				sum, count = sum+y[j], count+1
			}
		}
		out[i] = sum / count
	}
	return out
}
