package traces_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/distill/traces"
	"github.com/gor1/gor1/reward/remote"
)

var long = flag.Bool("long", false, "ask the faulty teacher 10,000 questions instead of 500")

func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func serve(t testing.TB, h http.Handler) string {
	s := httptest.NewServer(h)
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	return s.URL + "/chat/completions"
}

// quick are limits for tests.
var quick = remote.Limits{Timeout: 20 * time.Second, Idle: idle, Attempts: 30, Pause: time.Millisecond, MaxWait: 2 * time.Second, MaxBody: 1 << 16}

func teacher(t testing.TB, url string, l remote.Limits) *traces.Teacher {
	tr, err := traces.New(traces.Config{URL: url, Key: key, Model: model, MaxTokens: 900, Options: map[string]any{"temperature": 0.6}, Reasoning: true, Limits: l,
		Client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}})
	require.NoError(t, err)
	return tr
}

func journal(t testing.TB, path string) *traces.Journal {
	j, err := traces.OpenJournal(path)
	require.NoError(t, err)
	return j
}

func questions(n int) []traces.Question {
	qs := make([]traces.Question, n)
	for i := range qs {
		qs[i] = traces.Question{ID: fmt.Sprint("row ", i), Messages: []traces.Message{{"user", fmt.Sprintf("question %d?", i)}}}
	}
	return qs
}

// written are the rows that Write writes, held against what the teacher has to say.
func written(t testing.TB, tr *traces.Teacher, j *traces.Journal, qs []traces.Question) string {
	var b bytes.Buffer
	n, err := traces.Write(&b, tr, j, qs)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	require.Len(t, lines, n)
	for i, line := range lines {
		var row struct {
			ID                 string
			Prompt, Completion []traces.Message
		}
		require.NoError(t, json.Unmarshal([]byte(line), &row))
		require.Equal(t, qs[i].ID, row.ID)
		reasoning, content := answers(qs[i].Messages[0].Content)
		require.Equal(t, []traces.Message{{"assistant", "<think>\n" + reasoning + "\n</think>\n\n" + content}}, row.Completion)
	}
	return b.String()
}

// A teacher of whose replies 30 % are broken, in each of many ways: every question gets its own whole answer, once, in order.
func TestFaultyTeacher(t *testing.T) {
	n := 500
	if *long {
		n = 10_000
	}
	f := newFaulty(300, "")
	url, path := serve(t, f), filepath.Join(t.TempDir(), "journal.jsonl")
	qs := questions(n)
	patient := quick // on a busy machine a good reply, too, may take its time; TestEachFault waits for less
	patient.Timeout, patient.Idle = time.Minute, 30*time.Second
	tr, j := teacher(t, url, patient), journal(t, path)
	sum, err := traces.Collect(context.Background(), tr, j, qs, traces.Options{Workers: 64, Failed: func(id string, err error) { t.Error(id, err) }})
	require.NoError(t, err)
	require.Equal(t, [...]int{n, n, 0, 0}, [...]int{sum.Questions, sum.Answered, sum.Failed, sum.Known})
	require.GreaterOrEqual(t, sum.Requests, f.requests.Load()) // of some the teacher never heard
	perSample, broken := float64(sum.Requests)/float64(n), 0
	for _, times := range f.seen {
		broken += times
	}
	require.InDelta(t, 0.3, float64(broken)/float64(f.requests.Load()), 0.06)
	require.LessOrEqual(t, perSample, 1.6)
	if *long {
		require.Len(t, f.seen, len(faults), "every way to break was met")
	}
	for q, times := range f.whole {
		require.Equal(t, 1, times, "%s was paid for %d times", q, times)
	}
	rows := written(t, tr, j, qs)
	require.Equal(t, n, strings.Count(rows, "\n"))
	require.NoError(t, j.Close())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, n, bytes.Count(text, []byte("\n")))
	require.NotContains(t, string(text), key)
	t.Logf("measured: %d samples, %d replies broken in %d ways, %.3f requests a sample, rejected %v", n, broken, len(faults), perSample, sum.Rejected)

	// Once more: nothing is asked, and the rows are the same bytes.
	j = journal(t, path)
	defer j.Close()
	again, err := traces.Collect(context.Background(), tr, j, qs, traces.Options{Workers: 64})
	require.NoError(t, err)
	require.Equal(t, [...]int64{int64(n), 0}, [...]int64{int64(again.Known), again.Requests})
	require.Equal(t, rows, written(t, tr, j, qs))
}

// Each fault alone is never an answer, and its error holds no key; each good form is one.
func TestEachFault(t *testing.T) {
	one := quick
	one.Attempts, one.MaxWait = 1, time.Millisecond
	for name := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := teacher(t, serve(t, newFaulty(0, name)), one).Ask(context.Background(), questions(1)[0])
			require.Error(t, err)
			require.NotContains(t, err.Error(), key)
		})
	}
	for name := range good {
		a, err := teacher(t, serve(t, newFaulty(0, name)), one).Ask(context.Background(), questions(1)[0])
		require.NoError(t, err, name)
		reasoning, content := answers("question 0?")
		require.Equal(t, [...]string{reasoning, content}, [...]string{a.Reasoning, a.Content}, name)
	}
}

// A process killed at any instant leaves a journal cut anywhere: whole lines are known, and the rest is asked.
func TestKilled(t *testing.T) {
	f := newFaulty(0, "")
	url, dir := serve(t, f), t.TempDir()
	qs := questions(60)
	whole := filepath.Join(dir, "whole")
	tr, j := teacher(t, url, quick), journal(t, whole)
	_, err := traces.Collect(context.Background(), tr, j, qs, traces.Options{})
	require.NoError(t, err)
	require.NoError(t, j.Close())
	text, err := os.ReadFile(whole)
	require.NoError(t, err)
	for cut := 0; cut < len(text); cut += 2_497 {
		path := filepath.Join(dir, "cut")
		require.NoError(t, os.WriteFile(path, text[:cut], 0o644))
		j := journal(t, path)
		left, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(text[:bytes.LastIndexByte(text[:cut], '\n')+1]), string(left))
		sum, err := traces.Collect(context.Background(), tr, j, qs, traces.Options{})
		require.NoError(t, err)
		require.Equal(t, bytes.Count(text[:cut], []byte("\n")), sum.Known)
		require.Equal(t, len(qs), strings.Count(written(t, tr, j, qs), "\n"))
		require.NoError(t, j.Close())
	}
	require.NoError(t, os.WriteFile(whole, append([]byte("{}\n"), text...), 0o644))
	_, err = traces.OpenJournal(whole)
	require.ErrorContains(t, err, "whole:1 is no record")
}

// TestCollectChild is the process that TestKillNine kills; alone it does nothing.
func TestCollectChild(t *testing.T) {
	url, path, _ := strings.Cut(os.Getenv("R1_TRACES_CHILD"), " ")
	if url == "" {
		t.Skip("run by TestKillNine")
	}
	j := journal(t, path)
	_, err := traces.Collect(context.Background(), teacher(t, url, quick), j, questions(400), traces.Options{Workers: killedWorkers})
	require.NoError(t, err)
	require.NoError(t, j.Close())
}

const killedWorkers = 4

// A process killed at any instant pays again for at most what was under way.
func TestKillNine(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	f := newFaulty(0, "")
	url, path := serve(t, f), filepath.Join(t.TempDir(), "journal.jsonl")
	r := rand.New(rand.NewPCG(1, 2))
	kills, struck := 0, true
	for struck {
		child := exec.Command(os.Args[0], "-test.run=^TestCollectChild$")
		child.Env = append(os.Environ(), "R1_TRACES_CHILD="+url+" "+path)
		require.NoError(t, child.Start())
		done := make(chan error, 1)
		go func() { done <- child.Wait() }()
		before := f.requests.Load()
		limit := 10 + r.Int64N(40) // requests until we strike
		for struck = false; !struck && len(done) == 0; time.Sleep(time.Millisecond) {
			if f.requests.Load() >= before+limit && kills < 10 {
				err := child.Process.Kill()
				if errors.Is(err, os.ErrProcessDone) {
					break
				}
				require.NoError(t, err)
				struck = true
				kills++
			}
		}
		if err := <-done; !struck {
			require.NoError(t, err)
		}
	}
	require.Positive(t, kills)
	paid := 0
	for _, n := range f.whole {
		paid += n
	}
	require.Len(t, f.whole, 400)
	require.LessOrEqual(t, paid, 400+kills*killedWorkers)
	j := journal(t, path)
	defer j.Close()
	require.Equal(t, 400, strings.Count(written(t, teacher(t, url, quick), j, questions(400)), "\n"))
	t.Logf("measured: %d kills, %d answers paid for twice", kills, paid-400)
}

// The budget, a server that refuses the caller, one that is down, and the end of the context stop all; what was paid for stays.
func TestStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	qs := questions(40)
	short := quick
	short.Budget = 15
	f := newFaulty(0, "")
	url := serve(t, f)
	j := journal(t, path)
	sum, err := traces.Collect(context.Background(), teacher(t, url, short), j, qs, traces.Options{Workers: 4})
	require.ErrorIs(t, err, remote.ErrBudget)
	require.Equal(t, 15, sum.Answered)
	ctx, cancel := context.WithCancel(context.Background())
	sum, err = traces.Collect(ctx, teacher(t, url, quick), j, qs, traces.Options{Workers: 1, Progress: func(done, of int) {
		if require.Equal(t, 25, of); done == 5 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 15, sum.Known)
	sum, err = traces.Collect(context.Background(), teacher(t, url, quick), j, qs, traces.Options{Workers: 1})
	require.NoError(t, err)
	require.Equal(t, 40, sum.Known+sum.Answered)
	require.LessOrEqual(t, f.requests.Load(), int64(40+1))
	require.NoError(t, j.Close())

	for name, h := range map[string]http.Handler{
		"401": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "bad "+r.Header.Get("Authorization"), http.StatusUnauthorized)
		}),
		"got no reply": newFaulty(0, "hang up"),
	} {
		j := journal(t, filepath.Join(t.TempDir(), "journal.jsonl"))
		once := quick
		once.Attempts = 1
		_, err := traces.Collect(context.Background(), teacher(t, serve(t, h), once), j, qs, traces.Options{Workers: 2})
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), key)
		require.NoError(t, j.Close())
	}
}

// A question whose replies were all refused is not paid for again unless asked for; one the server will not take stays failed, too.
func TestFailedForGood(t *testing.T) {
	f := newFaulty(0, "length")
	url, path := serve(t, f), filepath.Join(t.TempDir(), "journal.jsonl")
	twice := quick
	twice.Attempts = 2
	qs := append(questions(3), questions(1)[0]) // one twice: asked once
	j := journal(t, path)
	defer j.Close()
	var failed []string
	run := func(retry bool) traces.Summary {
		sum, err := traces.Collect(context.Background(), teacher(t, url, twice), j, qs, traces.Options{Retry: retry, Workers: 1, Failed: func(id string, err error) { failed = append(failed, id) }})
		require.NoError(t, err)
		return sum
	}
	sum := run(false)
	require.Equal(t, traces.Summary{Questions: 3, Failed: 3, Requests: 6, Rejected: map[string]int{"unfinished": 6}}, sum)
	require.Equal(t, []string{"row 0", "row 1", "row 2"}, failed)
	require.Equal(t, traces.Summary{Questions: 3, Failed: 3, Rejected: map[string]int{}}, run(false))
	f.always = ""
	require.Equal(t, 3, run(true).Answered)
	require.Equal(t, 4, strings.Count(written(t, teacher(t, url, twice), j, slices.Insert(slices.Clone(qs[:3]), 0)), "\n")+1)

	refuse := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "too long; "+key, 400) }))
	k := journal(t, filepath.Join(t.TempDir(), "journal.jsonl"))
	defer k.Close()
	sum, err := traces.Collect(context.Background(), teacher(t, refuse, quick), k, qs, traces.Options{Failed: func(_ string, err error) { require.NotContains(t, err.Error(), key) }})
	require.NoError(t, err)
	require.Equal(t, [...]int64{3, 3}, [...]int64{int64(sum.Failed), sum.Requests})
}

// Asked to, the teacher is asked for a stream; whether it is has no part in a question's key.
func TestStreamed(t *testing.T) {
	asked := map[string]any{}
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, json.NewDecoder(r.Body).Decode(&asked))
		good["stream"](w, "question 0?")
	}))
	tr, err := traces.New(traces.Config{URL: url, Model: model, Stream: true, MaxTokens: 900, Options: map[string]any{"temperature": 0.6}})
	require.NoError(t, err)
	a, err := tr.Ask(context.Background(), questions(1)[0])
	require.NoError(t, err)
	require.Equal(t, 9, a.Tokens)
	require.Equal(t, true, asked["stream"])
	require.Equal(t, 0.6, asked["temperature"])
	one, err := tr.Key(questions(1)[0])
	require.NoError(t, err)
	other, err := teacher(t, url, quick).Key(questions(1)[0])
	require.NoError(t, err)
	require.Equal(t, one, other)
}

func TestConfig(t *testing.T) {
	for want, c := range map[string]traces.Config{
		"model \"\"":      {URL: "http://x"},
		"temperature":     {URL: "http://x", Model: "m", Options: map[string]any{"temperature": 1}},
		"must begin with": {URL: "x", Model: "m"},
		"set by its own":  {URL: "http://x", Model: "m", Options: map[string]any{"stream": true}},
		"the key holds":   {URL: "http://x", Model: "m", Key: "a\nb"},
		"a limit below 0": {URL: "http://x", Model: "m", Limits: remote.Limits{Budget: -1}},
	} {
		_, err := traces.New(c)
		if want == "temperature" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
	}
}

func ExampleCollect() {
	server := httptest.NewServer(newFaulty(300, ""))
	defer server.Close()
	teacher, _ := traces.New(traces.Config{URL: server.URL, Key: key, Model: model, Limits: quick})
	dir, _ := os.MkdirTemp("", "traces")
	defer os.RemoveAll(dir)
	journal, _ := traces.OpenJournal(filepath.Join(dir, "journal.jsonl"))
	defer journal.Close()
	qs := []traces.Question{{Messages: []traces.Message{{Role: "user", Content: "2 + 2 = ?"}}}}
	sum, err := traces.Collect(context.Background(), teacher, journal, qs, traces.Options{})
	fmt.Println(sum.Answered, err)
	// Output: 1 <nil>
}
