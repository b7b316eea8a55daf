package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/model"
)

// modelInfo is what r1 info prints. Bytes are of the weights and what is kept beside them, not of activations.
type modelInfo struct {
	Type       string `json:"model_type"`
	Parameters int64  `json:"parameters"`
	Layers     int    `json:"layers"`
	Hidden     int    `json:"hidden_size"`
	Vocabulary int    `json:"vocabulary"`
	Positions  int    `json:"max_positions"`
	Inference  int64  `json:"inference_bytes"`
	LoRA       int64  `json:"lora_bytes"`
	Training   int64  `json:"training_bytes"`
	KVPerToken int64  `json:"kv_bytes_per_token"`
}

const loraRank = 16

func newInfo() *cobra.Command {
	var asJSON bool
	var revision string
	cmd := &cobra.Command{
		Use:   "info DIR|FILE.gguf",
		Short: "Print a model's size and the memory it needs",
		Long: "Reads config.json, of a folder or of an id org/name, or the head of a .gguf file, only. Inference keeps fp32 weights and their packed copies; LoRA adds adapters of rank 16\n" +
			"on every linear layer, full training gradients and AdamW's two moments of everything. r1 plan adds what a run's batch takes.",
		Example: "  r1 info DIR\n  r1 info model.gguf --json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%w: want one model folder or .gguf file, got %d arguments", errUsage, len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := findModel(cmd, args[0], revision, "config.json")
			if err != nil {
				return err
			}
			c, err := model.ReadConfig(dir)
			if err != nil {
				return err
			}
			i, err := infoOf(c)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(i)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "type        %s, %d layers, width %d, vocabulary %d, %d positions\nparameters  %d (%.1f M)\ninference   %.2f GiB, and %d bytes of cache a token\n"+
				"LoRA        %.2f GiB at rank %d, and activations\ntraining    %.2f GiB, and activations\n", i.Type, i.Layers, i.Hidden, i.Vocabulary, i.Positions, i.Parameters, float64(i.Parameters)/1e6, gib(i.Inference), i.KVPerToken, gib(i.LoRA), loraRank, gib(i.Training))
			return err
		},
	}
	cmd.Flags().StringVar(&revision, "revision", "", "of an id: branch, tag or commit; empty: main")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func infoOf(c model.Config) (modelInfo, error) {
	i := modelInfo{Type: c.ModelType, Parameters: c.ParamCount(), Layers: c.Layers, Hidden: c.HiddenSize, Vocabulary: c.VocabSize, Positions: c.MaxPositions, KVPerToken: c.CacheBytes(4)}
	lora := &model.LoRAConfig{R: loraRank, Alpha: loraRank, Targets: []string{model.AllLinear}}
	for _, of := range []struct {
		to   *int64
		work model.Work
	}{{&i.Inference, model.Work{}}, {&i.LoRA, model.Work{TrainRows: 1, LoRA: lora}}, {&i.Training, model.Work{TrainRows: 1}}} {
		of.work.Store = model.Kept(true, false)
		p, err := c.Plan(of.work)
		if err != nil {
			return i, err
		}
		*of.to = p.Always()
	}
	return i, nil
}

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }
