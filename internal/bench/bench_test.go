package bench

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

func openCPU(t *testing.T) *kernels.Device {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev
}

// The shapes have the parameters that their names promise (SmolLM2-135M's, Qwen2.5's and Qwen3-0.6B's own counts). What is looked up, an
// embedding that is not the head too, is in no product.
func TestShapes(t *testing.T) {
	for name, want := range map[string]int64{"1m": 1115264, "15m": 15191712, "135m": 134515008, "0.5b": 494032768, "0.6b": 596049920, "1.5b": 1543714304, "7b": 7615616512} {
		c, err := Shape(name, 128)
		require.NoError(t, err)
		require.Equal(t, want, c.ParamCount(), name)
		if !c.TieEmbeddings {
			want -= int64(c.VocabSize * c.HiddenSize)
		}
		require.Equal(t, float64(4*want), costsOf(c, false).weightBytes)
		require.Equal(t, float64(2*want), costsOf(c, true).weightBytes)
	}
	_, err := Shape("70b", 128)
	require.ErrorContains(t, err, `no shape "70b"; known are 0.5b, 0.6b, 1.5b, 135m, 15m, 1m, 7b`)
}

// Medians are of the undisturbed rounds where there are enough, else of all, and then the result says so.
func TestResults(t *testing.T) {
	dev := openCPU(t)
	cases := []Case{{Name: "c", Unit: "u/s", Work: 10, Stages: []Stage{{FLOPs: 200, Bytes: 10}, {FLOPs: 1, Bytes: 100}}}, {Name: "free", Work: 1}}
	at := func(value, others float64) round {
		return round{peak: 100, copy: 50, others: others, values: []float64{value, 1}}
	}
	rounds := []round{at(1, 0), at(100, 0.5), at(2, 0.05), at(3, 0.01)}
	got := results(dev, cases, rounds, Options{Rounds: 3})
	require.Equal(t, 2.0, got[0].Value)
	require.Equal(t, 2.5, got[0].Limit, "10 units in 200/100 + 100/50 seconds")
	require.Equal(t, 0.8, got[0].Share)
	require.Equal(t, []any{3, 1, ""}, []any{got[0].Rounds, got[0].Void, got[0].Disturbed})
	require.Zero(t, got[1].Limit)

	got = results(dev, cases, rounds, Options{Rounds: 4})
	require.Equal(t, 2.5, got[0].Value)
	require.Equal(t, "others took 3 % of the cores (median; more than 5 % in 1 of 4 rounds)", got[0].Disturbed)

	got = results(dev, cases, []round{at(1, -1)}, Options{Rounds: 1})
	require.Equal(t, "what others do is not known on this system", got[0].Disturbed)
}

// A measurement stops when so many rounds were disturbed that too few can be left, repeats short runs, and names what failed.
func TestMeasure(t *testing.T) {
	dev := openCPU(t)
	runs := 0
	c := Case{Name: "sleep", Unit: "u/s", Work: 1, Run: func(context.Context) error { runs++; time.Sleep(time.Millisecond); return nil }}
	got, err := Measure(context.Background(), dev, []Case{c}, Options{Rounds: 1, MinTime: 5 * time.Millisecond})
	require.NoError(t, err)
	require.Greater(t, runs, 2)
	require.Positive(t, got[0].Value)
	require.LessOrEqual(t, got[0].Rounds, 2)
	c.Run = func(context.Context) error { return errors.New("out of luck") }
	_, err = Measure(context.Background(), dev, []Case{c}, Options{Rounds: 1})
	require.EqualError(t, err, "bench: sleep: out of luck")
	_, err = Measure(context.Background(), dev, nil, Options{})
	require.ErrorContains(t, err, "0 rounds")
}

// Every benchmark runs, frees what it made, and is timed only on a device that keeps the contract.
func TestEveryCaseRuns(t *testing.T) {
	dev := openCPU(t)
	ctx := context.Background()
	require.NoError(t, Contract(ctx, dev, false))
	require.NoError(t, Contract(ctx, dev, true))
	l := Load{Batch: 2, Prompt: 19, New: 3, Prompts: 2, Group: 3}
	half := l
	half.BF16 = true
	c, err := Shape("1m", 32)
	require.NoError(t, err)
	for name, make := range map[string]func() ([]Case, error){
		"gemm":      func() ([]Case, error) { return GEMM(dev, c, []int{1, 3}, true) },
		"attention": func() ([]Case, error) { return Attention(dev, c, 2, 19) },
		"adamw":     func() ([]Case, error) { return AdamW(dev, c) },
		"decode":    func() ([]Case, error) { return Decode(dev, "1m", l) },
		"decode16":  func() ([]Case, error) { return Decode(dev, "1m", half) },
		"prefill":   func() ([]Case, error) { return Prefill(dev, "1m", l) },
		"train":     func() ([]Case, error) { return Train(dev, "1m", l) },
		"step":      func() ([]Case, error) { return Step(dev, "1m", l) },
		"tokenize":  func() ([]Case, error) { return Tokenize(lettersOnly{}), nil },
	} {
		cases, err := make()
		require.NoError(t, err, name)
		for _, c := range cases {
			require.NoError(t, c.Run(ctx), c.Name)
			require.NoError(t, c.Run(ctx), "again: "+c.Name)
		}
		require.NoError(t, CloseAll(cases))
	}
	for _, name := range Kinds() {
		cases, err := Cases(dev, name, "1m", []int{2}, l)
		require.NoError(t, err)
		require.NotEmpty(t, cases)
		require.NoError(t, CloseAll(cases))
	}
	_, err = Cases(dev, "luck", "1m", nil, l)
	require.ErrorIs(t, err, ErrUnknown)
	_, err = Decode(dev, "1m", Load{})
	require.ErrorContains(t, err, "want at least 1 of each")
}

// A step without groups has work to do, and a shared prompt leaves less.
func TestStepLoads(t *testing.T) {
	dev := openCPU(t)
	for _, l := range []Load{{Batch: 1, Prompt: 40, New: 3, Prompts: 1, Group: 1}, {Batch: 1, Prompt: 40, New: 3, Prompts: 1, Group: 6, SharePrompt: true}} {
		cases, err := Step(dev, "1m", l)
		require.NoError(t, err)
		series, err := NewSeries(context.Background(), dev, cases, Options{})
		require.NoError(t, err)
		got, err := series.Round(context.Background())
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Positive(t, got[0].Value)
		require.Empty(t, got[0].Disturbed)
		require.NoError(t, CloseAll(cases))
	}
	whole, shared := Load{Prompt: 40, New: 3, Prompts: 1, Group: 6}, Load{Prompt: 40, New: 3, Prompts: 1, Group: 6, SharePrompt: true}
	k := costs{params: 10, head: 4}
	require.InDelta(t, 6*(40*12+3*20)*3, stepStages(k, whole)[1].FLOPs, 1e-9)
	require.InDelta(t, (40*12+6*3*20)*3, stepStages(k, shared)[1].FLOPs, 1e-9)
}

// The written folder is the model that is timed, and says what it answers.
func TestWrite(t *testing.T) {
	dev := openCPU(t)
	dir := filepath.Join(t.TempDir(), "1m")
	require.NoError(t, Write(context.Background(), dev, "1m", dir))
	m, err := model.Load(dev, dir, model.Options{})
	require.NoError(t, err)
	defer m.Close()
	timed, err := fresh(dev, "1m", Load{Batch: 1, Prompt: 9, New: 1, Prompts: 1, Group: 1})
	require.NoError(t, err)
	defer timed.Close()
	for i, p := range m.Params() {
		got, err := p.Values()
		require.NoError(t, err)
		want, err := timed.Params()[i].Values()
		require.NoError(t, err)
		require.Equal(t, want, got, p.Name)
	}
	var probe struct {
		IDs  []int32   `json:"ids"`
		LogP []float32 `json:"logp"`
	}
	text, err := os.ReadFile(filepath.Join(dir, Probe))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &probe))
	require.Len(t, probe.LogP, len(probe.IDs)-1)
	require.Less(t, slices.Max(probe.LogP), float32(0))
}

// Work of processes that are named is not others'.
func TestWatch(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what others do is known on Linux only")
	}
	cmd := exec.Command("sh", "-c", "echo; while :; do :; done")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)
	named, alone := Watch(cmd.Process.Pid), Watch()
	for i := range 300 { // until the clock of the system has counted some of it
		time.Sleep(10 * time.Millisecond)
		if i >= 20 && named.Others() < alone.Others() {
			return
		}
	}
	t.Fatal("a named process counts as another")
}

type lettersOnly struct{}

func (lettersOnly) Encode(text string, _ bool) []int32 { return []int32{int32(len(text))} }
