// Command compare times this library and other programs, each in a process of its own, on the same weights and token ids in interleaved
// rounds, and prints a Markdown table; the machine's limits are measured in every round beside. bench/README.md says how to read it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gor1/gor1/internal/bench"
	"github.com/gor1/gor1/kernels"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	if slices.Equal(args, []string{"worker"}) {
		return serveOurs(ctx, os.Stdin, stdout)
	}
	fl := flag.NewFlagSet("compare", flag.ContinueOnError)
	fl.SetOutput(stderr)
	shapes := fl.String("shapes", "1m,15m,135m", "comma-separated: 1m, 15m, 135m, 0.5b")
	rounds := fl.Int("rounds", 7, "undisturbed rounds wanted; at most twice as many are run")
	minTime := fl.Float64("min-time", 0.2, "seconds of one measurement: short runs are repeated")
	budget := fl.Duration("budget", 2*time.Minute, "of a unit's rounds: no further round begins after it, once there are three")
	quick := fl.Bool("quick", false, "one short round: that everything runs, not what it takes")
	only := fl.String("only", "", "a regular expression: the units whose name it matches")
	peers := fl.String("peers", "torch,transformers,trl,llama", "which, comma-separated; llama compiles llama.cpp where it is not yet installed")
	out := fl.String("out", "compare.jsonl", "the file of the rows in JSON, one a line")
	models := fl.String("models", "", "the folder of the models, which are written when they are first asked for; empty: gor1/bench-models-1 in the user's cache")
	python := fl.String("python", "", "an interpreter that has the peers; empty: bench/peers/install makes one")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if *quick {
		*rounds, *minTime = 1, 0.01
	}
	folder, err := cacheFolder(*models)
	if err != nil {
		return err
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	wanted, names := strings.Split(*peers, ","), strings.Split(*shapes, ",")
	if err := check(wanted, names, *rounds); err != nil {
		return err
	}
	r := &runner{rounds: *rounds, budget: *budget, shared: map[string]*worker{}, log: stderr, folder: modelIn(ctx, folder)}
	defer r.close()
	if r.launch, err = launcher(*python, wanted, stderr); err != nil {
		return err
	}
	file, err := os.Create(*out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	list := slices.DeleteFunc(units(names, *minTime), func(u unit) bool { return !pattern.MatchString(u.name) })
	if *quick {
		list = shortened(list)
	}
	return r.all(ctx, list, wanted, stdout, file)
}

func check(peers, shapes []string, rounds int) error {
	for _, p := range peers {
		if !slices.Contains(drivers, p) {
			return fmt.Errorf("no peer %q; known are %s", p, strings.Join(drivers, ", "))
		}
	}
	for _, s := range shapes {
		if _, err := bench.Shape(s, 1); err != nil {
			return err
		}
	}
	if rounds < 1 {
		return fmt.Errorf("%d rounds: want at least 1", rounds)
	}
	return nil
}

// all compares the units with the wanted peers and writes their rows as they come.
func (r *runner) all(ctx context.Context, list []unit, wanted []string, stdout, file io.Writer) error {
	began, failed := time.Now(), 0
	fmt.Fprint(stdout, head)
	for _, u := range list {
		u.theirs = slices.DeleteFunc(u.theirs, func(s side) bool { return s.driver != "ours" && !slices.Contains(wanted, s.driver) })
		if len(u.theirs) == 0 {
			continue
		}
		rows := r.compare(ctx, u)
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, row := range rows {
			if row.Rounds == 0 {
				failed++
			}
			text, err := row.line()
			if err != nil {
				return err
			}
			if _, err := file.Write(text); err != nil {
				return err
			}
			fmt.Fprint(stdout, row.markdown())
		}
	}
	fmt.Fprintf(r.log, "%d units in %.0f s\n", len(list), time.Since(began).Seconds())
	if failed > 0 {
		return fmt.Errorf("%d rows failed: the table says why", failed)
	}
	return nil
}

// drivers are the peers' programs in bench/peers.
var drivers = []string{"torch", "transformers", "trl", "llama"}

// launcher starts workers: ours is this program, the peers' are run by python.
func launcher(python string, wanted []string, log io.Writer) (func(ctx context.Context, driver string) (*worker, error), error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	_, source, _, _ := runtime.Caller(0)
	peers := filepath.Join(filepath.Dir(source), "..", "peers")
	if python == "" {
		args := []string{filepath.Join(peers, "install")}
		if slices.Contains(wanted, "llama") {
			args = append(args, "llama")
		}
		cmd := exec.Command("sh", args...)
		cmd.Stderr = log
		text, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("bench/peers/install: %w", err)
		}
		python = strings.TrimSpace(string(text))
	}
	return func(ctx context.Context, driver string) (*worker, error) {
		if driver == "ours" {
			return start(ctx, driver, "", program, "worker")
		}
		return start(ctx, driver, peers, python, "time_"+driver+".py")
	}, nil
}

// cacheFolder is where models are kept between runs.
func cacheFolder(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "gor1", "bench-models-1"), err
}

// modelIn gives the folders of the shapes' models, each written into dir when it is first asked for.
func modelIn(ctx context.Context, dir string) func(shape string) (string, error) {
	return func(shape string) (string, error) {
		folder := filepath.Join(dir, shape)
		if _, err := os.Stat(filepath.Join(folder, bench.Probe)); err == nil {
			return folder, nil
		}
		dev, err := kernels.Open("cpu")
		if err != nil {
			return "", err
		}
		return folder, errors.Join(bench.Write(ctx, dev, shape, folder), dev.Close())
	}
}
