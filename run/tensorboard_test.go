package run_test

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/run"
)

func write(t *testing.T) string {
	dir := t.TempDir()
	r, err := run.Open(dir)
	require.NoError(t, err)
	for step := range int64(3) {
		require.NoError(t, r.Metrics(step, run.Field{Name: "reward", Value: 0.25 * float64(step)}, run.Field{Name: "rewards/accuracy/mean", Value: 7}, run.Field{Name: "note", Value: "text"}, run.Field{Name: "kl", Value: math.NaN()}))
	}
	require.NoError(t, r.Close())
	r, err = run.Open(dir) // resumes at step 2: what was written of it is void
	require.NoError(t, err)
	require.NoError(t, r.Rewind(1))
	require.NoError(t, r.Metrics(2, run.Field{Name: "reward", Value: -1.5}))
	require.NoError(t, r.Close())
	return dir
}

// The records are framed as the format says: length, its checksum, data, their checksum.
func TestEventRecords(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(write(t), "events.out.tfevents.*"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	table := crc32.MakeTable(crc32.Castagnoli)
	mask := func(b []byte) uint32 { c := crc32.Checksum(b, table); return (c>>15 | c<<17) + 0xa282ead8 }
	records := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		for len(b) > 0 {
			n := binary.LittleEndian.Uint64(b)
			require.Equal(t, mask(b[:8]), binary.LittleEndian.Uint32(b[8:]))
			require.Equal(t, mask(b[12:12+n]), binary.LittleEndian.Uint32(b[12+n:]))
			b = b[16+n:]
			records++
		}
	}
	require.Equal(t, 2+3+2+1, records)
}

// TensorBoard itself reads what is there: R1_TENSORBOARD names a Python that has the package tensorboard.
func TestTensorBoardReads(t *testing.T) {
	python := os.Getenv("R1_TENSORBOARD")
	if python == "" {
		t.Skip("set R1_TENSORBOARD to a Python with the package tensorboard")
	}
	script := `
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.argv[1]); a.Reload()
for tag in sorted(a.Tags()["scalars"]):
    print(tag, [(e.step, e.value) for e in a.Scalars(tag)])
`
	out, err := exec.Command(python, "-c", script, write(t)).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "reward [(0, 0.0), (1, 0.25), (2, -1.5)]")
	require.Contains(t, string(out), "rewards/accuracy/mean [(0, 7.0), (1, 7.0)]")
	require.False(t, strings.Contains(string(out), "note") || strings.Contains(string(out), "kl"))
}
