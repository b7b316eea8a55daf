package data

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// write puts a file into a fresh folder.
func write(t testing.TB, name, text string) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func open(t testing.TB, path string, o Options) *Dataset {
	d, err := Open(context.Background(), path, o)
	require.NoError(t, err)
	return d
}

func readAll(t testing.TB, s Stream) Table {
	rows, err := ReadAll(context.Background(), s, 0)
	require.NoError(t, err)
	return rows
}

// fields are the rows without their places.
func fields(rows Table) []Object {
	out := make([]Object, len(rows))
	for i, r := range rows {
		out[i] = r.Fields
	}
	return out
}

// failure reads until the error that must come, and returns how many rows came before.
func failure(t testing.TB, path string, o Options) (int, error) {
	d, err := Open(context.Background(), path, o)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, err := range d.Rows(context.Background(), Cursor{}) {
		if err != nil {
			return n, err
		}
		n++
	}
	t.Fatalf("%s: %d rows and no error", path, n)
	return 0, nil
}

// The oracle of the plain file is encoding/json.
func TestJSONLines(t *testing.T) {
	rows := readAll(t, open(t, "testdata/gsm8k.jsonl", Options{}))
	text, err := os.ReadFile("testdata/gsm8k.jsonl")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.Len(t, rows, len(lines))
	for i, line := range lines {
		var want struct{ Question, Answer string }
		require.NoError(t, json.Unmarshal([]byte(line), &want))
		require.Equal(t, Object{{"question", want.Question}, {"answer", want.Answer}}, rows[i].Fields)
		require.Equal(t, Place{"testdata/gsm8k.jsonl", int64(i + 1), int64(i + 1)}, rows[i].Place)
	}
}

// Escaped line ends, quotes and lists as published.
func TestMBPP(t *testing.T) {
	rows := readAll(t, open(t, "testdata/mbpp.jsonl", Options{}))
	require.Len(t, rows, 20)
	for i, row := range rows {
		id, err := row.Int("task_id")
		require.NoError(t, err)
		require.EqualValues(t, i+1, id)
		code, err := row.Text("code")
		require.NoError(t, err)
		require.Contains(t, code, "def ")
		tests, err := row.List("test_list")
		require.NoError(t, err)
		require.NotEmpty(t, tests)
	}
}

// All formats hold the same 40 problems, written by Python.
func TestFormatsAgree(t *testing.T) {
	want := fields(readAll(t, open(t, "testdata/gsm8k.jsonl", Options{})))
	require.Len(t, want, 40)
	for _, name := range formats {
		require.Equal(t, want, fields(readAll(t, open(t, "testdata/"+name, Options{}))), name)
	}
}

var formats = []string{"gsm8k.jsonl", "gsm8k.jsonl.gz", "gsm8k.jsonl.zst", "gsm8k.json", "gsm8k_object.json", "gsm8k.csv", "gsm8k.parquet", "gsm8k_zstd.parquet", "gsm8k_gzip.parquet"}

// After a cursor, written as JSON and read again, the rest is the same rows with the same cursors.
func TestResume(t *testing.T) {
	for _, name := range formats {
		requireResumes(t, name, open(t, "testdata/"+name, Options{}))
	}
	blank := "\ufeff{\"a\":1}\r\n\r\n  \n{\"a\":\"\u2028\"}\n{\"a\":3}"
	requireResumes(t, "blank lines", open(t, write(t, "x.jsonl", blank), Options{}))
	requireResumes(t, "csv of many lines", open(t, write(t, "x.csv", "\ufeffa,b\r\n\"1\r\n2\",x\r\n\r\n3,\"\"\"q\"\"\n\"\n5,6"), Options{}))
}

// requireResumes goes on from every row of a stream, which must end.
func requireResumes(t *testing.T, name string, s Stream) {
	t.Helper()
	all := readAll(t, s)
	for i, row := range all {
		text, err := json.Marshal(row.Next)
		require.NoError(t, err)
		var from Cursor
		require.NoError(t, json.Unmarshal(text, &from))
		require.Equal(t, row.Next, from)
		var rest Table
		for r, err := range s.Rows(context.Background(), from) {
			require.NoError(t, err, "%s after row %d", name, i)
			rest = append(rest, r)
		}
		require.Equal(t, append(Table(nil), all[i+1:]...), rest, "%s after row %d", name, i)
	}
}

func TestCursorOfOtherData(t *testing.T) {
	path := write(t, "x.jsonl", "{\"a\":1}\n{\"a\":2}\n")
	next := readAll(t, open(t, path, Options{}))[0].Next
	require.NoError(t, os.WriteFile(path, []byte("{\"a\":1}\n{\"a\":2}\n{}"), 0o644))
	for _, err := range open(t, path, Options{}).Rows(context.Background(), next) {
		require.ErrorContains(t, err, "have changed since")
	}
	for _, err := range Repeat(open(t, path, Options{}), 2).Rows(context.Background(), next) {
		require.ErrorContains(t, err, "not one of a Repeat")
	}
}

func TestValues(t *testing.T) {
	row := readAll(t, open(t, write(t, "x.jsonl", `{"n":null,"t":true,"i":9007199254740993,"min":-9223372036854775808,"big":9223372036854775808,"f":1.0,"e":1e2,"z":-0,"s":"\u00e9\ud834\udd1e\\ud800","l":[1,[],{}],"o":{"z":1,"a":2}}`), Options{}))[0]
	require.Equal(t, Object{{"n", nil}, {"t", true}, {"i", int64(9007199254740993)}, {"min", int64(-1 << 63)}, {"big", json.Number("9223372036854775808")},
		{"f", 1.0}, {"e", 100.0}, {"z", negativeZero()}, {"s", `é𝄞\ud800`}, {"l", []any{int64(1), []any{}, Object{}}}, {"o", Object{{"z", int64(1)}, {"a", int64(2)}}}}, row.Fields)
	text, err := json.Marshal(row.Fields)
	require.NoError(t, err)
	require.Contains(t, string(text), `"big":9223372036854775808,"f":1,`)
	require.Contains(t, string(text), `{"z":1,"a":2}`)
}

func negativeZero() float64 { z := 0.0; return -1 * z }

func TestAccessors(t *testing.T) {
	row := readAll(t, open(t, write(t, "x.jsonl", `{"s":"5","i":9007199254740993,"f":27.0,"h":0.5,"b":false,"l":[],"n":null}`), Options{}))[0]
	i, err := row.Int("f")
	require.NoError(t, err)
	require.EqualValues(t, 27, i)
	f, err := row.Float("f")
	require.NoError(t, err)
	require.Equal(t, 27.0, f)
	for what, err := range map[string]error{
		`x.jsonl:1: field "x": is missing; the row has s, i, f, h, b, l, n`:           second(row.Text("x")),
		`x.jsonl:1: field "n": is null`:                                               second(row.Text("n")),
		`x.jsonl:1: field "i": want a string, got 9007199254740993 (an integer)`:      second(row.Text("i")),
		`field "s": want an integer of 64 bits, got "5" (a string)`:                   second(row.Int("s")),
		`field "h": want an integer of 64 bits, got 0.5 (a float)`:                    second(row.Int("h")),
		`field "i": want a finite number that a float64 holds exactly, got 900719925`: second(row.Float("i")),
		`field "s": want true or false, got "5" (a string)`:                           second(row.Bool("s")),
		`field "b": want a list, got false (a boolean)`:                               second(row.List("b")),
		`field "l": is a list without messages`:                                       second(row.Messages("l")),
		`field "b": want a string or a list of messages, got false (a boolean)`:       second(row.Content("b")),
	} {
		var e *RowError
		require.ErrorAs(t, err, &e)
		require.ErrorContains(t, err, what)
	}
}

func second[T any](_ T, err error) error { return err }

func TestCSV(t *testing.T) {
	rows := readAll(t, open(t, write(t, "x.csv", "\ufeffn,f,b,s\n7,1.5,True,\"a\nb\"\n-1,,false,x"), Options{}))
	require.Equal(t, Object{{"n", "7"}, {"f", "1.5"}, {"b", "True"}, {"s", "a\nb"}}, rows[0].Fields)
	require.EqualValues(t, 2, rows[0].Place.Line)
	require.EqualValues(t, 4, rows[1].Place.Line)
	n, err := rows[1].Int("n")
	require.NoError(t, err)
	require.EqualValues(t, -1, n)
	b, err := rows[0].Bool("b")
	require.NoError(t, err)
	require.True(t, b)
	require.ErrorContains(t, second(rows[1].Float("f")), `x.csv:4: field "f": want a finite number`)
}

// What is damaged is an error that says where and what; nothing is read over in silence.
func TestDamaged(t *testing.T) {
	gz := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		return b.String()
	}
	many := strings.Repeat("{\"a\":1}\n", 50_000)
	cutGzip := gz(many)
	zst, err := os.ReadFile("testdata/gsm8k.jsonl.zst")
	require.NoError(t, err)
	deep := strings.Repeat("[", 10_000)
	for name, c := range map[string]struct {
		file, text string
		rows       int
		says       string
	}{
		"empty":             {"x.jsonl", "", 0, "is empty (0 bytes)"},
		"only lines":        {"x.jsonl", "\n\n \n", 0, "no rows"},
		"only a mark":       {"x.jsonl", "\ufeff", 0, "no rows"},
		"broken line":       {"x.jsonl", "{\"a\":1}\n{\"a\":}\n", 1, "x.jsonl:2: is not JSON"},
		"last line cut":     {"x.jsonl", "{\"a\":1}\n{\"a\":\"b", 1, "x.jsonl:2: ends after 7 bytes in the middle of a value; is the file cut off?"},
		"two on a line":     {"x.jsonl", "{\"a\":1} {\"a\":2}\n", 0, "x.jsonl:1: more follows"},
		"a number":          {"x.jsonl", "5\n", 0, "x.jsonl:1: want an object, got 5 (an integer)"},
		"an array":          {"x.jsonl", "[1]\n", 0, "want an object, got a list of 1"},
		"NaN":               {"x.jsonl", "{\"a\":NaN}\n", 0, "NaN at byte 5 is not JSON; write null"},
		"infinity":          {"x.jsonl", "{\"a\":Infinity}\n", 0, "Infinity at byte 5 is not JSON"},
		"minus infinity":    {"x.jsonl", "{\"a\":-Infinity}\n", 0, "is not JSON"},
		"too large":         {"x.jsonl", "{\"a\":1e999}\n", 0, "1e999 is too large for a float64"},
		"name twice":        {"x.jsonl", "{\"a\":1,\"a\":2}\n", 0, `field "a" occurs twice`},
		"twice, escaped":    {"x.jsonl", "{\"a\":1,\"\\u0061\":2}\n", 0, `field "a" occurs twice`},
		"twice of many":     {"x.jsonl", "{" + manyFields(40) + ",\"f3\":2}\n", 0, `field "f3" occurs twice`},
		"not UTF-8":         {"x.jsonl", "{\"a\":1}\n{\"a\":\"\xff\"}\n", 1, "x.jsonl:2: is not UTF-8 at byte 6"},
		"half a surrogate":  {"x.jsonl", `{"a":"\\\ud800"}`, 0, `half a surrogate pair (\ud800) at byte 8`},
		"the other half":    {"x.jsonl", `{"a":"\udc00"}`, 0, "half a surrogate pair"},
		"pair of firsts":    {"x.jsonl", `{"a":"\ud800\ud800"}`, 0, "half a surrogate pair"},
		"NUL":               {"x.jsonl", "{\"a\":\"\x00\"}\n", 0, "is not JSON"},
		"UTF-16":            {"x.jsonl", "\xff\xfe{\x00", 0, "UTF-16"},
		"deep":              {"x.jsonl", "{\"a\":" + deep + "}", 0, "is nested deeper than 128"},
		"deep in the array": {"x.json", "[{\"a\":" + deep[:9000] + strings.Repeat("]", 9000) + "}]", 0, "is nested deeper than 128"},
		"long line":         {"x.jsonl", "{\"a\":1}\n{\"a\":\"" + strings.Repeat("x", 100_000) + "\"}\n", 1, "x.jsonl:2: the line has 100009 bytes, the most is 65536"},
		"not gzip":          {"x.jsonl.gz", "{}", 0, "is not gzip"},
		"gzip cut":          {"x.jsonl.gz", cutGzip[:len(cutGzip)-20], -1, "it is cut off"},
		"gzip damaged":      {"x.jsonl.gz", cutGzip[:len(cutGzip)-6] + "xx" + cutGzip[len(cutGzip)-4:], -1, "cannot be read further"},
		"not zstd":          {"x.jsonl.zst", "{\"a\":1}", 0, "x.jsonl.zst:1: cannot be read further"},
		"zstd cut":          {"x.jsonl.zst", string(zst[:len(zst)-9]), -1, "cut off"},
		"json of space":     {"x.json", " \n", 0, "nothing but space"},
		"json number":       {"x.json", "5", 0, "begins with '5'"},
		"array cut":         {"x.json", "[{\"a\":1},{\"a\"", 1, "x.json row 2: the text ends in the middle"},
		"array not closed":  {"x.json", "[{\"a\":1}", 1, "is the file cut off?"},
		"array and more":    {"x.json", "[{\"a\":1}] 5", 1, "more follows the array"},
		"array of numbers":  {"x.json", "[{\"a\":1},2]", 1, "x.json row 2: want an object, got 2"},
		"long element":      {"x.json", "[{\"a\":\"" + strings.Repeat("x", 1_000_000) + "\"}]", 0, "x.json row 1: has more than 65536 bytes"},
		"object, no list":   {"x.json", "{\"a\":[1],\n\"b\":2}", 0, "0 of its fields () are lists of objects, of a, b"},
		"object, two lists": {"x.json", "{\"a\":[{}],\"b\":[{}]}", 0, "2 of its fields (a, b)"},
		"object too long":   {"x.json", "{\"a\":\n\"" + strings.Repeat("x", 5_000_000) + "\"}", 0, "is one object of more than 4194304 bytes"},
		"json lines cut":    {"x.json", "{\"a\":1}\n{\"a\"", 1, "x.json:2: ends after"},
		"csv, no header":    {"x.csv", "\n", 0, "no header"},
		"csv, only header":  {"x.csv", "a,b\n", 0, "no rows"},
		"csv, twice":        {"x.csv", "a,a\n1,2\n", 0, `has the column "a" twice`},
		"csv, too many":     {"x.csv", "a,b\n1,2\n1,2,3\n", 1, "x.csv:3: has 3 values, the header has 2 columns (a, b)"},
		"csv, quote":        {"x.csv", "a,b\n1,\"2\n\n", 0, "x.csv:2: is not CSV"},
		"csv, long quote":   {"x.csv", "a,b\n1,\"" + strings.Repeat("2\n", 200_000), 0, "is a quote not closed?"},
		"csv, not UTF-8":    {"x.csv", "a\n1\n\xff\n", 1, "x.csv:3: column 1 is not UTF-8"},
		"no such kind":      {"x.txt", "a", 0, "want a file called"},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := failure(t, write(t, c.file, c.text), Options{MaxLine: 1 << 16})
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, c.file)
			if c.rows >= 0 {
				require.Equal(t, c.rows, n)
			}
		})
	}
	_, err = Open(context.Background(), "testdata/nothing.jsonl", Options{})
	require.ErrorContains(t, err, "nothing.jsonl")
	_, err = Open(context.Background(), "org/name", Options{})
	require.ErrorContains(t, err, "Options.Hub is nil")
	_, err = Open(context.Background(), "testdata/gsm8k.jsonl", Options{MaxLine: -1})
	require.ErrorContains(t, err, "MaxLine is -1")
}

func manyFields(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(`"f%d":%d`, i, i)
	}
	return strings.Join(parts, ",")
}

// Bad lines can be counted and left out; what comes behind them is read, and its lines are right.
func TestSkip(t *testing.T) {
	path := write(t, "x.jsonl", "{\"a\":1}\n{\"a\":}\n{\"a\":\""+strings.Repeat("x", 70_000)+"\"}\n\xff\n{\"a\":5}\n")
	var skipped []string
	d := open(t, path, Options{MaxLine: 1 << 16, Skip: func(err error) bool {
		skipped = append(skipped, err.Error())
		return true
	}})
	rows := readAll(t, d)
	require.Len(t, skipped, 3)
	require.Equal(t, []Object{{{"a", int64(1)}}, {{"a", int64(5)}}}, fields(rows))
	require.EqualValues(t, 5, rows[1].Place.Line)
	requireResumes(t, "skip", d)
}

func TestDocumentForms(t *testing.T) {
	want := []Object{{{"a", int64(1)}}, {{"a", int64(2)}}}
	for name, text := range map[string]string{
		"array":        "[{\"a\":1},{\"a\":2}]",
		"marked array": "\ufeff \n[ {\"a\":1} ,\n{\"a\":2}\n]\n",
		"lines":        "{\"a\":1}\n{\"a\":2}",
		"marked lines": "\ufeff{\"a\":1}\n{\"a\":2}\n",
		"object":       "{\"version\":1,\"data\":[{\"a\":1},{\"a\":2}],\"n\":[1]}",
		"long object":  "{\n\"version\":1,\n\"data\":[{\"a\":1},\n{\"a\":2}]\n}\n",
	} {
		d := open(t, write(t, "x.json", text), Options{})
		require.Equal(t, want, fields(readAll(t, d)), name)
		requireResumes(t, name, d)
	}
	one := readAll(t, open(t, write(t, "x.json", "{\"a\":[1]}\n"), Options{}))
	require.Equal(t, []Object{{{"a", []any{int64(1)}}}}, fields(one), "a single line of JSON Lines")
	picked := readAll(t, open(t, write(t, "x.json", "{\"a\":[{}],\"b\":[{\"c\":1}]}"), Options{Field: "b"}))
	require.Equal(t, []Object{{{"c", int64(1)}}}, fields(picked))
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	var last error
	for _, err := range open(t, "testdata/gsm8k.jsonl", Options{}).Rows(ctx, Cursor{}) {
		if last = err; err == nil {
			n++
		}
		cancel()
	}
	require.Equal(t, 1, n)
	require.True(t, errors.Is(last, context.Canceled))
}
