//go:build unix

package remote_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/remote"
)

// shell is a reward whose program is a script; $1 is a folder of the test's.
func shell(t *testing.T, script string, change func(c *remote.CommandConfig)) (*remote.Command, string) {
	dir := t.TempDir()
	c := remote.CommandConfig{Path: "/bin/sh", Args: []string{"-c", script, "sh", dir}, Timeout: 300 * time.Millisecond, Start: 5 * time.Second}
	if change != nil {
		change(&c)
	}
	p, err := remote.NewCommand(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p, dir
}

// numbered samples have their number as completion.
func numbered(n int) []reward.Sample {
	group := make([]reward.Sample, n)
	for i := range group {
		group[i].Completion = fmt.Sprint("number ", i)
	}
	return group
}

func valuesOf(rs []reward.Result) []float64 {
	out := make([]float64, len(rs))
	for i, r := range rs {
		v, ok := r.Score.Value()
		if out[i] = v; !ok {
			out[i] = math.NaN()
		}
	}
	return out
}

// number echoes the number in a row.
const number = `n=${line#*number }; n=${n%%\"*};`

func TestCommand(t *testing.T) {
	p, _ := shell(t, `while read -r line; do `+number+` echo $n; done`, nil)
	for range 3 {
		rs := reward.EvaluateGroup(context.Background(), p.Group(), numbered(50))
		for i, v := range valuesOf(rs) {
			require.Equal(t, float64(i), v)
		}
	}
	require.Equal(t, 1, p.Starts())
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r := reward.Evaluate(context.Background(), p.Func(), numbered(i + 1)[i])
			v, _ := r.Score.Value()
			if v != float64(i) || r.Parts[0].Name != "command" {
				t.Errorf("%d: %v", i, r)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, p.Starts())
}

// What a program can do wrong, at row 3 of 6 each time it sees it: that row is not scored, the others are, by a new process where needed.
func TestCommandFaults(t *testing.T) {
	others := []float64{0, 1, 2, math.NaN(), 4, 5}
	for name, c := range map[string]struct {
		fault string // instead of echo at row 3
		batch int
		want  []float64
	}{
		"exits":                  {"exit 1", 4, others},
		"dies":                   {"kill -9 $$", 4, others},
		"hangs":                  {"sleep 1000", 4, others},
		"spins":                  {"while :; do :; done", 4, others},
		"is silent":              {":", 4, others},
		"null":                   {"echo null", 4, others},
		"garbage":                {"echo garbage", 4, others},
		"nothing":                {"echo", 4, others},
		"NaN":                    {"echo NaN", 4, others},
		"infinity":               {"echo Infinity", 4, others},
		"out of range":           {"echo 1e999", 4, others},
		"two numbers":            {"echo 1 2", 4, others},
		"a list":                 {"echo '[1]'", 4, others},
		"text":                   {`echo '"1"'`, 4, others},
		"true":                   {"echo true", 4, others},
		"hexadecimal":            {"echo 0x10", 4, others},
		"a long line":            {"head -c 100000 /dev/zero | tr '\\0' 1; echo", 4, others},
		"an endless line":        {"cat /dev/zero", 4, others},
		"bytes that are no text": {"printf '\\377\\376\\n'", 4, others},
		"half a line":            {"printf 1; sleep 1000", 4, others},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := shell(t, `while read -r line; do `+number+` if [ "$n" = 3 ]; then `+c.fault+`; else echo $n; fi; done`, func(cc *remote.CommandConfig) { cc.Batch = c.batch })
			tally := reward.Tally{}
			rs := reward.EvaluateGroup(context.Background(), p.Group(), numbered(6))
			got := valuesOf(rs)
			for i, w := range c.want {
				require.Equal(t, math.IsNaN(w), math.IsNaN(got[i]), "%v: %v", got, rs)
				if !math.IsNaN(w) {
					require.Equal(t, w, got[i])
				}
			}
			for _, r := range rs {
				tally.Add(r.Parts)
			}
			unscored := 0
			for _, w := range c.want {
				if math.IsNaN(w) {
					unscored++
				}
			}
			require.Equal(t, unscored, tally["command"].Unscored)
		})
	}
}

// A program that writes lines unasked does not go on: the next batch has a new one.
func TestCommandUnaskedLines(t *testing.T) {
	p, _ := shell(t, `while read -r line; do `+number+` echo $n; if [ "$n" = 5 ]; then echo 1; yes 1; fi; done`, nil)
	for i := range 3 {
		got := valuesOf(reward.EvaluateGroup(context.Background(), p.Group(), numbered(6)))
		for k, v := range got {
			require.True(t, math.IsNaN(v) || v == float64(k), "%d: %v", i, got)
		}
		time.Sleep(50 * time.Millisecond)
	}
	require.Equal(t, 3, p.Starts())
}

// One that cannot work is given up after ten starts, with its own words.
func TestCommandGivesUp(t *testing.T) {
	p, _ := shell(t, `echo "no module named torch" >&2; exit 3`, nil)
	rs := reward.EvaluateGroup(context.Background(), p.Group(), numbered(30))
	require.ErrorContains(t, rs[0].Err, "10 processes in a row")
	require.ErrorContains(t, rs[0].Err, "no module named torch")
	require.Equal(t, 10, p.Starts())
	_, err := remote.NewCommand(remote.CommandConfig{Path: "no-such-program-anywhere"})
	require.Error(t, err)
}

// A sample's limit never exceeds its batch's.
func TestCommandHeedsItsContext(t *testing.T) {
	p, _ := shell(t, `sleep 1000`, func(c *remote.CommandConfig) { c.Timeout = time.Hour })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	rs := reward.EvaluateGroup(ctx, p.Group(), numbered(3))
	for _, r := range rs {
		require.ErrorIs(t, r.Err, context.DeadlineExceeded)
	}
}

// A row that is no JSON costs nobody else a score.
func TestCommandRowThatCannotBeWritten(t *testing.T) {
	p, _ := shell(t, `while read -r line; do `+number+` echo $n; done`, nil)
	group := numbered(4)
	group[1].Problem.Columns = map[string]any{"f": math.NaN()}
	got := valuesOf(reward.EvaluateGroup(context.Background(), p.Group(), group))
	require.True(t, math.IsNaN(got[1]))
	require.Equal(t, []float64{0, 2, 3}, []float64{got[0], got[2], got[3]})
	require.Equal(t, 1, p.Starts())
}

// Closing kills the whole tree: children, those in a session of their own, and orphans.
func TestCommandLeavesNothing(t *testing.T) {
	script := `trap '' TERM HUP
sleep 1000 & echo $! >>$1/pids
(sh -c 'trap "" HUP; echo $$ >>'$1'/pids; exec sleep 1000' &)
if command -v setsid >/dev/null; then setsid sh -c 'echo $$ >>'$1'/pids; exec sleep 1000' & fi
while read -r line; do echo 1; done
sleep 1000`
	p, dir := shell(t, script, nil)
	r := reward.Evaluate(context.Background(), p.Func(), numbered(1)[0])
	require.NoError(t, r.Err)
	want := 2
	if runtime.GOOS == "linux" {
		want = 3
	}
	var pids []string
	require.Eventually(t, func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "pids"))
		pids = strings.Fields(string(b))
		return len(pids) >= want
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	for _, pid := range pids {
		n, err := strconv.Atoi(pid)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return syscall.Kill(n, 0) != nil || zombie(n) }, 5*time.Second, 10*time.Millisecond, "process %d lives", n)
	}
	require.ErrorContains(t, reward.Evaluate(context.Background(), p.Func(), numbered(1)[0]).Err, "closed")
}

// zombie reports that a process is dead and nobody has asked how it died.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

func TestHTTP(t *testing.T) {
	replies := map[string]string{ // to rows 0, 1, 2
		"good": "0\n1.5\nnull\n", "no last line break": "0\n1.5\nnull", "too few": "0\n1\n", "too many": "0\n1\n2\n3\n", "garbage": "0\nx\n2\n", "empty": "", "NaN": "0\nNaN\n1\n", "one": "1",
		"a list": "[0, 1, 2]", "blank line": "0\n\n2\n", "HTML": "<html>\n<body>\n</html>", "text": "0\n\"1\"\n2\n",
	}
	for name, body := range replies {
		calls := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls++
			require.Equal(t, "application/x-ndjson", r.Header.Get("Content-Type"))
			fmt.Fprint(w, body)
		}))
		f, err := remote.HTTP(remote.HTTPConfig{URL: server.URL, Key: key, Limits: quick})
		require.NoError(t, err)
		rs := reward.EvaluateGroup(context.Background(), f, numbered(3))
		got := valuesOf(rs)
		if name == "good" || name == "no last line break" {
			require.Equal(t, []float64{0, 1.5}, got[:2])
			require.True(t, math.IsNaN(got[2]))
			require.Equal(t, 1, calls)
		} else {
			for i, v := range got {
				require.True(t, math.IsNaN(v), "%s: %v", name, got)
				require.Error(t, rs[i].Err)
				require.NotContains(t, rs[i].Err.Error(), key)
			}
			require.Equal(t, 2, calls)
		}
		server.Close()
	}
	_, err := remote.HTTP(remote.HTTPConfig{URL: "ftp://x"})
	require.Error(t, err)
}

// Batches that fail take no other batch with them.
func TestHTTPBatches(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		buf := make([]byte, 1<<16)
		for {
			n, err := r.Body.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				break
			}
		}
		if strings.Contains(b.String(), "number 5") {
			w.WriteHeader(500)
			return
		}
		fmt.Fprint(w, strings.Repeat("1\n", strings.Count(b.String(), "\n")))
	}))
	defer server.Close()
	f, err := remote.HTTP(remote.HTTPConfig{URL: server.URL, Limits: quick, Batch: 4})
	require.NoError(t, err)
	got := valuesOf(reward.EvaluateGroup(context.Background(), f, numbered(10)))
	for i, v := range got {
		require.Equal(t, i >= 4 && i < 8, math.IsNaN(v), "%v", got)
	}
}
