package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever the machine allows, the report says it, and the exit code agrees.
func TestSandbox(t *testing.T) {
	var out, errs bytes.Buffer
	code := run([]string{"sandbox", "--json"}, &out, &errs)
	var rep sandboxReport
	require.NoError(t, json.Unmarshal(out.Bytes(), &rep))
	require.NotEmpty(t, rep.Layers)
	require.False(t, rep.Unsafe)
	if rep.Kind == "" {
		require.Equal(t, 1, code)
		require.Contains(t, errs.String(), "no sandbox works here")
	} else {
		require.Zero(t, code, errs.String())
	}
	for _, l := range rep.Layers {
		require.NotEmpty(t, l.Note, l.Name)
	}
	out.Reset()
	require.Equal(t, code, run([]string{"sandbox"}, &out, &errs))
	require.Contains(t, out.String(), rep.Layers[0].Name)
	require.Equal(t, 2, run([]string{"sandbox", "--no-such-flag"}, &out, &errs))
}
