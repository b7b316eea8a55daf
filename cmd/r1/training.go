package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/internal/progress"
	"github.com/gor1/gor1/model/hub"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/pipeline/recipe"
	runs "github.com/gor1/gor1/run"
)

// fromRecipe makes cmd the command of a recipe: the fields of g are its flags, --config gives them from YAML beneath what was given as
// flags, and run is told where it is shown and where to find what is not on this machine.
func fromRecipe(cmd *cobra.Command, g any, foreign recipe.Foreign, at *recipe.Machine, run func(t *training, from recipe.Sources) error) {
	var config string
	var asJSON bool
	cmd.Flags().StringVar(&config, "config", "", "a YAML file with any of the flags as keys")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object when done; progress goes to stderr")
	recipe.Bind(cmd.Flags(), g)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		t := newTraining(cmd, asJSON)
		if config != "" {
			ignored, err := recipe.Read(config, cmd.Flags(), foreign)
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			if len(ignored) > 0 {
				t.out.Print("%s: %d keys change nothing here:\n  %s", config, len(ignored), strings.Join(ignored, "\n  "))
			}
		}
		from, err := sources(cmd)
		if err := errors.Join(err, machine(at)); err != nil {
			return err
		}
		return run(t, from)
	}
}

// training is what a person sees of a run.
type training struct {
	out     *progress.Line
	json    bool
	stdout  io.Writer
	said    bool // that the loss is 0
	before  *pipeline.Held
	largest float64 // log-prob difference between sampler and trainer
}

func newTraining(cmd *cobra.Command, asJSON bool) *training {
	t := &training{out: progress.New(os.Stderr), json: asJSON, stdout: cmd.OutOrStdout()}
	if f, ok := cmd.OutOrStdout().(*os.File); ok && !asJSON {
		t.out = progress.New(f)
	}
	return t
}

// sources are where models and data sets come from that are not on this machine, with the settings that Python would use.
func sources(cmd *cobra.Command) (recipe.Sources, error) {
	o, err := hub.FromEnviron(os.Getenv)
	return recipe.Sources{
		Key:   os.Getenv("R1_REWARD_KEY"),
		Data:  hub.Datasets{Options: o},
		Model: func(_ context.Context, name, revision string) (string, error) { return findModel(cmd, name, revision) },
	}, err
}

// machine completes where a run is computed with what the environment says.
func machine(m *recipe.Machine) error {
	o, err := deviceOptions(m.Threads, m.ISA)
	m.Threads, m.ISA = o.Threads, o.ISA
	return err
}

// open opens a run's directory, writes its configuration, and says whether it goes on.
func (t *training) open(o recipe.Output, config any, notes []string) (dir *runs.Run, resumed bool, err error) {
	for _, n := range notes {
		t.out.Print("note: %s", n)
	}
	dir, err = runs.Open(o.Dir)
	if err != nil {
		return nil, false, err
	}
	fail := func(err error) (*runs.Run, bool, error) { return nil, false, errors.Join(err, dir.Close()) }
	if o.Overwrite {
		if err := dir.Clear(); err != nil {
			return fail(err)
		}
	}
	done, _, resumed, err := dir.Latest()
	if err != nil {
		return fail(err)
	}
	if resumed {
		t.out.Print("going on from %s", dir.Path(done))
		return dir, true, nil
	}
	if err := dir.WriteFile("config.yaml", func(w io.Writer) error { return recipe.Write(w, config) }); err != nil {
		return fail(err)
	}
	return dir, false, nil
}
