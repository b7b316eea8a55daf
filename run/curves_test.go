package run_test

import (
	"encoding/xml"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/run"
)

func TestCurves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.svg")
	x := []float64{0, 1, 2, 3}
	require.NoError(t, run.WriteCurves(path, "a <title> & more", []run.Panel{
		{Title: "one", Lines: []run.Line{{Name: "a", X: x, Y: []float64{0.1, math.NaN(), 0.4, 0.9}}, {Name: "b", X: x, Y: []float64{1, 1, 1, 1}}}},
		{Title: "flat", Lines: []run.Line{{X: x, Y: []float64{3, 3, 3, 3}}}},
		{Title: "empty"},
	}))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	paths := 0
	for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err, "the picture is well-formed XML")
		if el, ok := tok.(xml.StartElement); ok && el.Name.Local == "path" {
			paths++
		}
	}
	require.Equal(t, 3, paths)
	require.NotContains(t, string(text), "NaN")
	require.NotContains(t, string(text), "Inf")
	require.NotContains(t, string(text), "<script")
	require.Equal(t, 1, strings.Count(string(text), "http"), "only the SVG name space")
}

func TestSmooth(t *testing.T) {
	require.Equal(t, []float64{1.5, 2, 3, 3.5}, run.Smooth([]float64{1, 2, 3, 4}, 3))
	require.Equal(t, []float64{1, 2, 3}, run.Smooth([]float64{1, math.NaN(), 3}, 3))
}
