package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/model/chat"
)

func newRender() *cobra.Command {
	var dir, file, input string
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Turn conversations into a model's text",
		Long: "Reads one JSON object of variables a line (messages, tools, add_generation_prompt and any others) and writes one object a line:\n" +
			"the text that the model's chat template makes, with the byte ranges that the assistant wrote, or the error of the template.",
		Example: `  echo '{"messages":[{"role":"user","content":"2 + 2 ="}],"add_generation_prompt":true}' | r1 render --model DIR` + "\n" +
			"  r1 render --template chat_template.jinja --input conversations.jsonl",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (dir == "") == (file == "") {
				return fmt.Errorf("%w: want one of --model and --template; see --help", errUsage)
			}
			render, err := renderer(dir, file)
			if err != nil {
				return err
			}
			w := bufio.NewWriter(cmd.OutOrStdout())
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			err = eachLine(input, cmd.InOrStdin(), func(line []byte) error { return enc.Encode(render(line)) })
			return errors.Join(err, w.Flush())
		},
	}
	cmd.Flags().StringVar(&dir, "model", "", "a model folder: its chat_template.jinja or tokenizer_config.json, and its special tokens")
	cmd.Flags().StringVar(&file, "template", "", "a template of its own; special tokens are variables of each line")
	cmd.Flags().StringVar(&input, "input", "-", "the file of conversations; -: stdin")
	return cmd
}

// rendered is a line that render writes.
type rendered struct {
	Text  *string   `json:"text,omitempty"`
	Spans *[][2]int `json:"spans,omitempty"`
	Error *string   `json:"error,omitempty"`
}

// renderer makes a line's answer from the line. A template that does not parse fails every line, as it does in transformers.
func renderer(dir, file string) (func(line []byte) rendered, error) {
	var t *chat.Template
	var err error
	if dir != "" {
		t, err = chat.Load(dir)
	} else {
		var text []byte
		if text, err = os.ReadFile(file); err == nil {
			t, err = chat.Parse(string(text))
		}
	}
	var bad *chat.Error
	if err != nil && !errors.As(err, &bad) {
		return nil, err
	}
	return func(line []byte) rendered {
		if bad != nil {
			return failed(bad)
		}
		v, err := chat.ParseVars(line)
		if err != nil {
			return failed(err)
		}
		r, err := t.Render(v, time.Now())
		if err != nil {
			return failed(err)
		}
		spans := append([][2]int{}, r.Spans...)
		return rendered{Text: &r.Text, Spans: &spans}
	}, nil
}

// failed is an error's line: what a template says with raise_exception word for word, else with the template's line.
func failed(err error) rendered {
	s := err.Error()
	if e := (*chat.Error)(nil); errors.As(err, &e) {
		if s = e.Error(); e.Kind == "TemplateError" {
			s = e.Msg
		}
	}
	return rendered{Error: &s}
}
