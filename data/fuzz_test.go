package data

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// drain reads a file to its end or first error.
func drain(path string) (rows int, err error) {
	d, err := Open(context.Background(), path, Options{MaxLine: 1 << 16})
	if err != nil {
		return 0, err
	}
	for row, err := range d.Rows(context.Background(), Cursor{}) {
		if err != nil {
			return rows, err
		}
		_, _ = row.Example()
		rows++
	}
	return rows, nil
}

// fuzz reads a file of any bytes: an error or rows, no panic, and no more memory than the limit.
func fuzz(f *testing.F, name string, limit func(size int) uint64) {
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, b, 0o644))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = drain(path)
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, limit(len(b)), "bytes allocated in all for a file of %d", len(b))
	})
}

// All that is ever allocated, freed or not: 16 MiB and 200 bytes a byte of text, for lists of one-digit numbers.
func textLimit(size int) uint64 { return 16<<20 + 200*uint64(size) }

func FuzzJSONL(f *testing.F) {
	for _, s := range []string{"{\"prompt\":\"a\"}\n{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}\n", "\ufeff{\"a\":[1,1.5,-0,1e9,9223372036854775808,null,true]}", `{"a":"\ud834\udd1e\\u"}`, "{\"a\":NaN}"} {
		f.Add([]byte(s))
	}
	fuzz(f, "x.jsonl", textLimit)
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{"[{\"a\":1},{\"a\":2}]", "{\"data\":[{\"a\":1}]}", "{\"a\":1}\n{\"a\":2}", "[[[["} {
		f.Add([]byte(s))
	}
	fuzz(f, "x.json", textLimit)
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\n1,\"2\n3\"\n", "\ufeffa\r\n\r\nx", "a,\"b\n"} {
		f.Add([]byte(s))
	}
	fuzz(f, "x.csv", textLimit)
}

// A page may claim up to 16 MiB, and its column's values, levels and dictionary some times as much.
func FuzzParquet(f *testing.F) {
	for _, name := range []string{"messages.parquet", "kinds.parquet"} {
		b, err := os.ReadFile("testdata/" + name)
		require.NoError(f, err)
		f.Add(b)
	}
	fuzz(f, "x.parquet", func(size int) uint64 { return 1<<30 + 1000*uint64(size) })
}
