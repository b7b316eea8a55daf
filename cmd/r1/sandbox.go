package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/reward/code/sandbox"
)

// sandboxReport is what r1 sandbox prints.
type sandboxReport struct {
	Kind   string          `json:"kind"` // empty: none works here
	Unsafe bool            `json:"unsafe"`
	Layers []sandbox.Layer `json:"layers"`
}

func newSandbox() *cobra.Command {
	var asJSON, unsafe bool
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Print how code written by a model would be run here, layer by layer",
		Long: "Builds each kind of sandbox in turn (namespaces; bubblewrap; Landlock and seccomp alone) and prints which layers of the first that\n" +
			"works are active, and why the others are not. Where none works, code is not run at all, and the exit code is 1.",
		Example: "  r1 sandbox\n  r1 sandbox --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var rep sandboxReport
			box, err := openSandbox(unsafe, cmd.ErrOrStderr())
			var refused *sandbox.Refusal
			switch {
			case err == nil:
				defer box.Close()
				rep = sandboxReport{Kind: box.Kind(), Unsafe: box.Unsafe(), Layers: box.Layers()}
			case errors.As(err, &refused):
				rep.Layers = refused.Tried
			default:
				return err
			}
			return errors.Join(rep.print(cmd.OutOrStdout(), asJSON), err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	addUnsafe(cmd, &unsafe)
	return cmd
}

// addUnsafe adds the flag of every command that runs code of a model.
func addUnsafe(cmd *cobra.Command, unsafe *bool) {
	cmd.Flags().BoolVar(unsafe, "unsafe-code-exec", false, "where no sandbox works, run the model's code as this user, able to read, write and connect to everything")
}

// openSandbox opens the sandbox of a command and warns where it is none.
func openSandbox(unsafe bool, stderr io.Writer) (*sandbox.Sandbox, error) {
	box, err := sandbox.Open(sandbox.Config{UnsafeExec: unsafe})
	if err == nil && box.Unsafe() {
		fmt.Fprintln(stderr, "r1: WARNING: --unsafe-code-exec: no sandbox works here, so code written by a model runs as this user:\n"+
			"r1: WARNING: it can read and write your files, use the network, and signal your processes. See r1 sandbox.")
	}
	return box, err
}

func (r sandboxReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	for _, l := range r.Layers {
		active := "no "
		if l.Active {
			active = "yes"
		}
		if _, err := fmt.Fprintf(w, "%-16s %s  %s\n", l.Name, active, l.Note); err != nil {
			return err
		}
	}
	return nil
}
