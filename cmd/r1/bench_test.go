package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/internal/bench"
)

func TestBench(t *testing.T) {
	var out, errs bytes.Buffer
	require.Zero(t, run([]string{"bench", "adamw", "--shape", "1m", "--rounds", "1", "--min-time", "1ms", "--json"}, &out, &errs), errs.String())
	var r bench.Result
	require.NoError(t, decodeStrict(bytes.TrimSpace(out.Bytes()), &r))
	require.Equal(t, "adamw P1115264", r.Name)
	require.Equal(t, "GB/s", r.Unit)
	require.Positive(t, r.Limit)
	require.InEpsilon(t, r.Value/r.Limit, r.Share, 1e-12)

	out.Reset()
	r.Disturbed = "others took 80 % of the cores"
	require.NoError(t, printBench(&out, []bench.Result{r}, false))
	require.Contains(t, out.String(), "NOT AN IDLE MACHINE: others took 80 % of the cores")

	for _, args := range [][]string{{"bench"}, {"bench", "luck"}, {"bench", "adamw", "--shape", "70b"}, {"bench", "gemm", "--dtype", "f16"}, {"bench", "adamw", "--dtype", "bf16"}, {"bench", "tokenize"}} {
		require.Equal(t, 2, run(args, &out, &errs), args)
	}
}
