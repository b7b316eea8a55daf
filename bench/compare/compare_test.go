package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGrid(t *testing.T) {
	require.Equal(t, []setting{{"a": 1, "b": true}, {"a": 1, "b": false}, {"a": 2, "b": true}, {"a": 2, "b": false}}, grid(opt("a", 1, 2), opt("b", true, false)))
	require.Equal(t, "a 2, b false", text(setting{"b": false, "a": 2}))
}

// What the comparison promises is among its units, whatever the shapes.
func TestUnits(t *testing.T) {
	names := map[string]unit{}
	for _, u := range units([]string{"1m", "15m", "135m"}, 0.2) {
		require.NotContains(t, names, u.name)
		names[u.name] = u
		for _, s := range append(u.ours, u.theirs...) {
			_, err := s.forPeer("", nil)
			require.NoError(t, err)
		}
	}
	for _, name := range []string{"gemm 135m bf16", "gemm 0.5b f32", "adamw 135m", "train 15m bf16", "train 135m f32", "decode 1m bf16 B64", "prefill 135m bf16", "step 135m", "scaling 1m"} {
		require.Contains(t, names, name)
	}
	require.Len(t, names["step 15m"].ours, 3)
	for _, u := range shortened(units([]string{"0.5b"}, 0)) {
		for _, s := range append(u.ours, u.theirs...) {
			require.LessOrEqual(t, len(s.settings), 1)
			require.LessOrEqual(t, s.New, 4)
		}
	}
}

// Our worker answers as the drivers do, keeps a case from ask to ask, and tells what it cannot do.
func TestServeOurs(t *testing.T) {
	one := `{"bench":"adamw","shape":"1m","dtype":"f32","min_time":0}`
	in := strings.Join([]string{one, one, `{"bench":"adamw","shape":"70b","dtype":"f32"}`, `{"bench":"decode","shape":"1m","dtype":"bf16","batch":2,"prompt":5,"new":2}`}, "\n")
	var out bytes.Buffer
	require.NoError(t, serveOurs(context.Background(), strings.NewReader(in), &out))
	var got []answer
	for d := json.NewDecoder(&out); ; {
		var a answer
		if err := d.Decode(&a); err == io.EOF {
			break
		} else {
			require.NoError(t, err)
		}
		got = append(got, a)
	}
	require.Len(t, got, 4)
	require.Equal(t, "adamw P1115264", got[1].Name)
	require.Positive(t, got[1].Limit)
	require.Contains(t, got[2].Error, `no shape "70b"`)
	require.Equal(t, "decode 1m B2 prompt 5 new 2", got[3].Name)
	require.Equal(t, "bf16", got[3].DType)
	require.ErrorContains(t, serveOurs(context.Background(), strings.NewReader("what"), &out), "request what")
}

// fake is a driver in shell: it answers each request with the value that its body says.
const fake = `while read -r line; do
case $line in *'"bad":true'*) echo '{"name":"x","error":"no such thing"}';;
*'"fast":true'*) echo '{"name":"x","value":8,"unit":"u/s","peak_rss":2,"device":"fake 1","check":0.5}';;
*) echo '{"name":"x","value":4,"unit":"u/s","peak_rss":2,"device":"fake 1","check":0.5}';; esac
echo
done; echo "so long" >&2`

// A peer takes part at the best of its settings; settings that fail are told and do not matter.
func TestCompare(t *testing.T) {
	var log bytes.Buffer
	r := &runner{rounds: 2, budget: time.Minute, shared: map[string]*worker{}, log: &log, folder: func(string) (string, error) { return "", nil }}
	defer r.close()
	r.launch = func(ctx context.Context, driver string) (*worker, error) {
		return start(ctx, driver, "", "sh", "-c", fake)
	}
	u := unit{name: "u", ours: []side{{driver: "ours", request: request{Shape: "1m"}}}, theirs: []side{{driver: "peer", request: request{Shape: "1m"},
		settings: grid(opt("bad", true, false), opt("fast", false, true))}}}
	rows := r.compare(context.Background(), u)
	require.Len(t, rows, 1)
	require.Equal(t, setting{"bad": false, "fast": true}, rows[0].Set)
	require.Equal(t, spread{4, 4, 4}, rows[0].Ours)
	require.Equal(t, spread{0.5, 0.5, 0.5}, rows[0].Ratio)
	require.Equal(t, 0.5, rows[0].Check)
	require.Len(t, rows[0].Swept, 4)
	require.Contains(t, rows[0].Swept[0].Error, "no such thing")
	require.Contains(t, rows[0].markdown(), "| 0.50x (0.50-0.50) | ")

	u.theirs[0].settings = grid(opt("bad", true), opt("n", 1, 2))
	rows = r.compare(context.Background(), u)
	require.Zero(t, rows[0].Rounds)
	require.Contains(t, rows[0].Void, "failed: compare: peer: no such thing")
	require.Contains(t, rows[0].markdown(), "no such thing")
}

// A worker that ends says its last words.
func TestWorkerEnds(t *testing.T) {
	w, err := start(context.Background(), "short", "", "sh", "-c", "read line; echo out of luck >&2; exit 3")
	require.NoError(t, err)
	_, err = w.ask(request{})
	require.ErrorContains(t, err, "compare: short ended")
	w.stop()
	require.Equal(t, "out of luck", w.said.String())
	_, err = start(context.Background(), "none", "", filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "compare: none:")
}

// Rounds that others disturbed do not count; where too few are left all do, and the row is void.
func TestRows(t *testing.T) {
	side := func(values ...float64) *contender {
		c := &contender{}
		for _, v := range values {
			a := answer{}
			a.Name, a.Value, a.Limit = "x", v, 10
			c.rounds = append(c.rounds, []answer{a})
		}
		return c
	}
	ours, theirs := []*contender{side(4, 100, 6)}, []*contender{side(2, 1, 2)}
	got := rowsOf(unit{name: "u"}, ours, theirs, []float64{0, 0.5, 0.05}, 2)[0]
	require.Equal(t, spread{5, 4, 6}, got.Ours)
	require.Equal(t, spread{2.5, 2, 3}, got.Ratio)
	require.Equal(t, []any{0.5, 2, 1, ""}, []any{got.Share, got.Rounds, got.Dropped, got.Void})
	got = rowsOf(unit{name: "u"}, ours, theirs, []float64{0, 0.5, 0.05}, 3)[0]
	require.Equal(t, "others took more than 5 % of the cores in 1 of 3 rounds", got.Void)
	require.Equal(t, 6.0, got.Ours.Median)
	got = rowsOf(unit{name: "u"}, ours, theirs, []float64{-1, -1, -1}, 3)[0]
	require.Contains(t, got.Void, "not known")
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"--luck"}, {"--only", "("}, {"--rounds", "0"}, {"--shapes", "70b"}, {"--peers", "vllm"}} {
		require.Error(t, run(context.Background(), args, io.Discard, io.Discard), args)
	}
}
