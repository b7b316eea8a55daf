package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newTokenize() *cobra.Command {
	var dir, revision string
	var special, decode, skip bool
	cmd := &cobra.Command{
		Use:   "tokenize",
		Short: "Turn text into token ids, or back",
		Long: "Reads one JSON string a line and writes one JSON array of ids a line; with --decode the other way. Text is encoded as the\n" +
			"tokenizer.json of the model says, with no chat template.",
		Example: `  echo '"Hello world"' | r1 tokenize --model DIR` + "\n" + `  echo '[9707, 1879]' | r1 tokenize --model DIR --decode`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required("--model", dir); err != nil {
				return err
			}
			dir, err := findModel(cmd, dir, revision, tokenizerFiles...)
			if err != nil {
				return err
			}
			tok, err := loadTokenizer(dir)
			if err != nil {
				return err
			}
			w := bufio.NewWriter(cmd.OutOrStdout())
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			err = eachLine("-", cmd.InOrStdin(), func(text []byte) error {
				if decode {
					var ids []int32
					if err := decodeStrict(text, &ids); err != nil {
						return fmt.Errorf("want a JSON array of ids: %w", err)
					}
					return enc.Encode(tok.Decode(ids, skip))
				}
				var s *string
				if err := decodeStrict(text, &s); err != nil || s == nil {
					return fmt.Errorf("want a JSON string, got %.40q", text)
				}
				return enc.Encode(tok.Encode(*s, special))
			})
			return errors.Join(err, w.Flush())
		},
	}
	cmd.Flags().StringVar(&dir, "model", "", "a model folder, its tokenizer.json, a .gguf file, or an id org/name to download (required)")
	cmd.Flags().StringVar(&revision, "revision", "", "of an id: branch, tag or commit; empty: main")
	cmd.Flags().BoolVar(&special, "add-special-tokens", false, "add what the tokenizer's template adds, such as the beginning of sequence")
	cmd.Flags().BoolVar(&decode, "decode", false, "read arrays of ids and write strings")
	cmd.Flags().BoolVar(&skip, "skip-special-tokens", false, "with --decode: leave special tokens out")
	return cmd
}
