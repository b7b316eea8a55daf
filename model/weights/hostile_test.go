package weights

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const oneF32 = `"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`

// hostile are files that break one rule each, and what the error must say.
func hostile() map[string]struct {
	content []byte
	says    string
} {
	type bad = struct {
		content []byte
		says    string
	}
	d4 := make([]byte, 4)
	entry := func(e string, data ...byte) []byte { return raw(`{"a":`+e+`}`, data...) }
	huge := binary.LittleEndian.AppendUint64(nil, 1<<63)
	return map[string]bad{
		"empty file":           {nil, "too few"},
		"seven bytes":          {make([]byte, 7), "too few"},
		"no header":            {make([]byte, 8), "does not begin"},
		"header past the end":  {raw("{}")[:9], "claims 2 bytes"},
		"header of 2^63":       {append(huge, "{}"...), "claims 9223372036854775808"},
		"header of 2^64-1":     {append(binary.LittleEndian.AppendUint64(nil, 1<<64-1), "{}"...), "claims 18446744073709551615"},
		"space before header":  {raw(" {}"), "does not begin"},
		"an array":             {raw("[]"), "does not begin"},
		"cut JSON":             {raw(`{"a":`), "header"},
		"cut after a name":     {raw(`{"a"`), "header"},
		"text after object":    {raw(`{} x`), "follows"},
		"object after object":  {raw(`{}{}`), "follows"},
		"line end after":       {raw("{}\n"), "follows"},
		"not UTF-8":            {raw("{\"\xff\":1}"), "UTF-8"},
		"name twice":           {raw(`{`+oneF32+`,`+oneF32+`}`, d4...), "twice"},
		"name twice, escaped":  {raw(`{`+oneF32+`,"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, make([]byte, 8)...), "twice"},
		"metadata twice":       {raw(`{"__metadata__":{},"__metadata__":{}}`), "twice"},
		"metadata of numbers":  {raw(`{"__metadata__":{"a":1}}`), "__metadata__"},
		"metadata is a list":   {raw(`{"__metadata__":[]}`), "__metadata__"},
		"entry is a number":    {entry("1"), `"a"`},
		"entry is null":        {entry("null"), `"a"`},
		"entry is empty":       {entry("{}"), "dtype"},
		"dtype unknown":        {entry(`{"dtype":"F128","shape":[1],"data_offsets":[0,16]}`, make([]byte, 16)...), `"F128" is unknown`},
		"dtype of small case":  {entry(`{"dtype":"f32","shape":[1],"data_offsets":[0,4]}`, d4...), `"f32" is unknown`},
		"no shape":             {entry(`{"dtype":"F32","data_offsets":[0,4]}`, d4...), "want dtype, shape and data_offsets"},
		"shape is null":        {entry(`{"dtype":"F32","shape":null,"data_offsets":[0,4]}`, d4...), "shape"},
		"fields in capitals":   {entry(`{"DTYPE":"F32","shape":[1],"data_offsets":[0,4]}`, d4...), "unknown field"},
		"dtype twice":          {entry(`{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,4]}`, d4...), `"dtype" occurs twice`},
		"shape twice":          {entry(`{"dtype":"F32","shape":[9],"shape":[1],"data_offsets":[0,4]}`, d4...), `"shape" occurs twice`},
		"offsets twice":        {entry(`{"dtype":"F32","shape":[1],"data_offsets":[0,9],"data_offsets":[0,4]}`, d4...), `"data_offsets" occurs twice`},
		"metadata's name":      {raw(`{"__metadata__":{"format":"pt","format":"tf"}}`), `"format" occurs twice`},
		"metadata is null":     {raw(`{"__metadata__":null}`), "__metadata__"},
		"a million dimensions": {entry(`{"dtype":"F32","shape":[`+strings.Repeat("1,", 1_000_000)+`1],"data_offsets":[0,4]}`, d4...), "more than 8 numbers"},
		"unknown field":        {entry(`{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}`, d4...), "x"},
		"shape negative":       {entry(`{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}`, d4...), "shape [-1]"},
		"shape fractional":     {entry(`{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}`, d4...), `"a"`},
		"shape 1e0":            {entry(`{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}`, d4...), `"a"`},
		"nine dimensions":      {entry(`{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}`, d4...), "more than 8 numbers"},
		"product is 2^64":      {entry(`{"dtype":"F32","shape":[2147483647,2147483647,4],"data_offsets":[0,0]}`), "shape"},
		"product wraps to 0":   {entry(`{"dtype":"U8","shape":[65536,65536,65536,65536],"data_offsets":[0,0]}`), "shape"},
		"product wraps to 4":   {entry(`{"dtype":"U8","shape":[4294967297,4294967300],"data_offsets":[0,4]}`, d4...), "shape"},
		"number past int64":    {entry(`{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}`, d4...), `"a"`},
		"no offsets":           {entry(`{"dtype":"F32","shape":[1]}`, d4...), "data_offsets"},
		"one offset":           {entry(`{"dtype":"F32","shape":[1],"data_offsets":[0]}`, d4...), "data_offsets"},
		"three offsets":        {entry(`{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}`, d4...), "data_offsets"},
		"offsets backwards":    {entry(`{"dtype":"F32","shape":[0],"data_offsets":[4,0]}`, d4...), "data_offsets"},
		"offset negative":      {entry(`{"dtype":"F32","shape":[2],"data_offsets":[-4,4]}`, d4...), "data_offsets"},
		"offset 2^63-1":        {entry(`{"dtype":"U8","shape":[1],"data_offsets":[9223372036854775806,9223372036854775807]}`, 0), "data_offsets"},
		"size is not shape":    {entry(`{"dtype":"F32","shape":[2],"data_offsets":[0,4]}`, d4...), "needs 8 bytes"},
		"past the end":         {entry(`{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`, d4...), "end at byte"},
		"claims 4 TB":          {entry(`{"dtype":"F32","shape":[1048576,1048576],"data_offsets":[0,4398046511104]}`, d4...), "end at byte"},
		"tail":                 {raw(`{`+oneF32+`}`, 0, 0, 0, 0, 'P', 'K'), "end at byte"},
		"tail without tensors": {raw(`{}`, 1), "end at byte"},
		"hole at the start":    {entry(`{"dtype":"F32","shape":[1],"data_offsets":[4,8]}`, make([]byte, 8)...), "starts at byte 4"},
		"hole between":         {raw(`{`+oneF32+`,"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}}`, make([]byte, 6)...), "starts at byte 5"},
		"overlap":              {raw(`{`+oneF32+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`, make([]byte, 6)...), "starts at byte 2"},
		"same place":           {raw(`{`+oneF32+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, d4...), "starts at byte 0"},
		"deep":                 {raw(`{"a":` + strings.Repeat(`[`, 20000) + strings.Repeat(`]`, 20000) + `}`), `"a"`},
		"deep metadata":        {raw(`{"__metadata__":` + strings.Repeat(`{"a":`, 20000)), "__metadata__"},
	}
}

func TestHostileFiles(t *testing.T) {
	for name, h := range hostile() {
		t.Run(name, func(t *testing.T) {
			path := file(t, t.TempDir(), "model.safetensors", h.content)
			f, err := Open(path)
			require.Nil(t, f)
			require.ErrorContains(t, err, h.says)
			require.ErrorContains(t, err, path)
		})
	}
}

// Odd files that break no rule.
func TestOddButFine(t *testing.T) {
	for name, content := range map[string][]byte{
		"no tensors":            raw(`{}`),
		"padded":                raw(`{}      `),
		"only metadata":         raw(`{"__metadata__":{"a":"b"}}`),
		"no elements, no bytes": raw(`{"a":{"dtype":"F64","shape":[0,2147483647],"data_offsets":[0,0]}}`),
		"empty among others":    raw(`{"e":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},`+oneF32+`,"z":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}}`, 0, 0, 0, 0, 1),
		"order in file":         raw(`{"b":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},`+oneF32+`}`, 0, 0, 0, 0, 1),
		"unaligned":             raw(`{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}`, 0, 0, 0, 0, 1),
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, file(t, t.TempDir(), "x.safetensors", content))
			for _, n := range f.Names() {
				_, err := f.Tensor(n)
				require.NoError(t, err)
			}
		})
	}
}

func TestHostileIndex(t *testing.T) {
	outside := t.TempDir()
	require.NoError(t, Write(filepath.Join(outside, "secret.safetensors"), map[string]Tensor{"a": FromFloat32([]float32{1}, 1)}))
	shards := func(t *testing.T) string {
		dir := t.TempDir()
		require.NoError(t, Write(filepath.Join(dir, "one.safetensors"), map[string]Tensor{"a": FromFloat32([]float32{1}, 1)}))
		require.NoError(t, Write(filepath.Join(dir, "two.safetensors"), map[string]Tensor{"b": FromFloat32([]float32{1}, 1)}))
		require.NoError(t, Write(filepath.Join(dir, "again.safetensors"), map[string]Tensor{"a": FromFloat32([]float32{2}, 1)}))
		require.NoError(t, os.Mkdir(filepath.Join(dir, "folder.safetensors"), 0o755))
		return dir
	}
	rel, err := filepath.Rel(shards(t), filepath.Join(outside, "secret.safetensors"))
	require.NoError(t, err)
	quote := func(s string) string { text, _ := json.Marshal(s); return string(text) }
	for name, c := range map[string]struct{ index, says string }{
		"not JSON":           {`{`, "index.json"},
		"a list":             {`[]`, "index.json"},
		"no map":             {`{}`, "weight_map is empty"},
		"empty map":          {`{"weight_map":{}}`, "weight_map is empty"},
		"map of numbers":     {`{"weight_map":{"a":1}}`, "index.json"},
		"upwards":            {`{"weight_map":{"a":` + quote(rel) + `}}`, "same folder"},
		"upwards, backslash": {`{"weight_map":{"a":"..\\secret.safetensors"}}`, "same folder"},
		"absolute":           {`{"weight_map":{"a":` + quote(filepath.Join(outside, "secret.safetensors")) + `}}`, "same folder"},
		"below":              {`{"weight_map":{"a":"sub/one.safetensors"}}`, "same folder"},
		"the folder":         {`{"weight_map":{"a":"."}}`, "same folder"},
		"its parent":         {`{"weight_map":{"a":".."}}`, "same folder"},
		"no name":            {`{"weight_map":{"a":""}}`, "same folder"},
		"NUL":                {`{"weight_map":{"a":"one\u0000.safetensors"}}`, "one"},
		"missing shard":      {`{"weight_map":{"a":"three.safetensors"}}`, "three.safetensors"},
		"a folder":           {`{"weight_map":{"a":"folder.safetensors"}}`, "not a regular file"},
		"itself":             {`{"weight_map":{"a":"model.safetensors.index.json"}}`, "header"},
		"tensor missing":     {`{"weight_map":{"a":"one.safetensors","c":"one.safetensors"}}`, "tensor c is not in one.safetensors"},
		"wrong shard":        {`{"weight_map":{"a":"two.safetensors","b":"one.safetensors"}}`, "is not in"},
		"tensor twice":       {`{"weight_map":{"a":"three.safetensors","a":"one.safetensors"}}`, `"a" occurs twice`},
		"map twice":          {`{"weight_map":{"b":"two.safetensors"},"weight_map":{"a":"one.safetensors"}}`, `"weight_map" occurs twice`},
		"map in capitals":    {`{"Weight_Map":{"a":"one.safetensors"}}`, "weight_map is empty"},
		"one not listed":     {`{"weight_map":{"a":"one.safetensors"},"x":0}`, ""},
		"tensor in two":      {`{"weight_map":{"a":"one.safetensors","z":"again.safetensors"}}`, "tensor a is also in"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := shards(t)
			file(t, dir, "model.safetensors.index.json", []byte(c.index))
			f, err := Open(dir)
			if c.says == "" {
				require.NoError(t, err)
				require.NoError(t, f.Close())
				return
			}
			require.Nil(t, f)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "weights: ")
		})
	}
	t.Run("shard holds more", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, Write(filepath.Join(dir, "x.safetensors"), map[string]Tensor{"a": FromFloat32(nil, 0), "b": FromFloat32(nil, 0)}))
		file(t, dir, "model.safetensors.index.json", []byte(`{"weight_map":{"a":"x.safetensors"}}`))
		_, err := Open(dir)
		require.ErrorContains(t, err, "the shards hold 2 tensors, weight_map lists 1")
	})
	t.Run("too many shards", func(t *testing.T) {
		var b strings.Builder
		b.WriteString(`{"weight_map":{`)
		for i := range 100_100 {
			fmt.Fprintf(&b, `"%d":"%d",`, i, i)
		}
		b.WriteString(`"x":"x"}}`)
		dir := t.TempDir()
		file(t, dir, "model.safetensors.index.json", []byte(b.String()))
		_, err := Open(dir)
		require.ErrorContains(t, err, "shards, limit 100000")
	})
	t.Run("nothing there", func(t *testing.T) {
		_, err := Open(t.TempDir())
		require.ErrorContains(t, err, "neither model.safetensors nor")
		_, err = Open(filepath.Join(t.TempDir(), "absent"))
		require.ErrorIs(t, err, os.ErrNotExist)
	})
}

// A few bytes cannot make Open allocate more than twice the file and 16 MiB, whatever they claim.
func TestClaimsCostNothing(t *testing.T) {
	for name, h := range hostile() {
		path := file(t, t.TempDir(), "x.safetensors", h.content)
		got := allocated(func() { _, _ = Open(path) })
		require.Less(t, got, uint64(2*len(h.content)+16<<20), name)
	}
	// Nor can many tensors of nothing: what is left after a collection is counted, for the entries themselves are kept.
	many := func(n int) string {
		var b strings.Builder
		b.WriteString("{")
		for i := range n {
			fmt.Fprintf(&b, `"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`, i)
		}
		b.WriteString(`"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`)
		return file(t, t.TempDir(), "x.safetensors", raw(b.String()))
	}
	_, tooMany := Open(many(maxTensors))
	require.ErrorContains(t, tooMany, "more than 200000 tensors")
	path := many(maxTensors - 1)
	info, e := os.Stat(path)
	require.NoError(t, e)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f := open(t, path)
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), 2*info.Size()+16<<20)
	require.Len(t, f.Names(), maxTensors)

	// A header of exactly the limit is read, one byte more is not: sparse files, so that the disk pays nothing.
	path = filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, os.WriteFile(path, binary.LittleEndian.AppendUint64(nil, maxHeader+1), 0o644))
	require.NoError(t, os.Truncate(path, maxHeader+9))
	var err error
	got := allocated(func() { _, err = Open(path) })
	require.ErrorContains(t, err, "limit 100000000")
	require.Less(t, got, uint64(1<<20))
}
