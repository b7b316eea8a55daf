package data

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// marked undoes what make.py did to values that JSON has not.
func marked(t testing.TB, v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = marked(t, v[i])
		}
	case Object:
		if len(v) == 1 && v[0].Name == "bytes" {
			b, err := hex.DecodeString(v[0].Value.(string))
			require.NoError(t, err)
			return b
		}
		if len(v) == 1 && v[0].Name == "time" {
			at, err := time.Parse(time.RFC3339Nano, v[0].Value.(string))
			require.NoError(t, err)
			return at.UTC()
		}
		for i, f := range v {
			v[i].Value = marked(t, f.Value)
			if s, ok := f.Value.(string); ok && (f.Name == "dec" || f.Name == "wide") {
				v[i].Value = json.Number(s)
			}
		}
	}
	return v
}

// Every type and nesting that Arrow writes, against pyarrow's own reading.
func TestParquetAgainstPyarrow(t *testing.T) {
	for _, name := range []string{"kinds", "messages"} {
		want := fields(readAll(t, open(t, "testdata/"+name+".jsonl", Options{})))
		for i := range want {
			want[i] = marked(t, want[i]).(Object)
		}
		d := open(t, "testdata/"+name+".parquet", Options{})
		got := readAll(t, d)
		require.Equal(t, want, fields(got), name)
		require.Equal(t, "testdata/"+name+".parquet row 2", got[1].Place.String())
		requireResumes(t, name, d)
	}
}

func TestParquetMessages(t *testing.T) {
	rows := readAll(t, open(t, "testdata/messages.parquet", Options{}))
	e, err := rows[1].Example()
	require.NoError(t, err)
	m := e.Text.Messages[1]
	require.Equal(t, []string{"role", "tool_calls"}, m.Fields.Names(), "nulls that Arrow filled in are left out")
	calls, _ := m.Fields.Get("tool_calls")
	require.Len(t, calls, 2)
	require.Equal(t, []string{"role", "content"}, e.Text.Messages[0].Fields.Names())
	_, err = rows[3].Example()
	require.ErrorContains(t, err, `messages.parquet row 4: field "messages": is a list without messages`)
}

func TestParquetPages(t *testing.T) {
	d := open(t, "testdata/numbers.parquet", Options{})
	rows := readAll(t, d)
	require.Len(t, rows, 1000)
	for i, r := range rows {
		n, err := r.Int("n")
		require.NoError(t, err)
		require.EqualValues(t, i, n)
	}
	for _, i := range []int{0, 126, 127, 128, 500, 998, 999} {
		require.Len(t, take(t, d, rows[i].Next, 0), 999-i)
	}
}

// A file of which any byte is changed, or that is cut off anywhere, is read or refused, and never more than that.
func TestParquetDamaged(t *testing.T) {
	for _, name := range []string{"messages.parquet", "gsm8k_zstd.parquet"} {
		whole, err := os.ReadFile("testdata/" + name)
		require.NoError(t, err)
		for n := 0; n < len(whole); n += 1 + len(whole)/100 {
			_, err := failure(t, write(t, "x.parquet", string(whole[:n])), Options{})
			require.Error(t, err)
		}
		path := write(t, "x.parquet", "")
		for i := 0; i < len(whole); i += 1 + len(whole)/400 {
			b := append([]byte(nil), whole...)
			b[i] ^= 0x55
			require.NoError(t, os.WriteFile(path, b, 0o644))
			_, _ = drain(path)
		}
	}
}
