package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/reward/mathx"
)

// verified is one line of r1 verify's output.
type verified struct {
	Verdict string `json:"verdict"`
	Gold    string `json:"gold"`
	Answer  string `json:"answer"`
	Reason  string `json:"reason"`
}

func newVerify() *cobra.Command {
	var gold, answer, input, percent string
	var policy mathx.Policy
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Say whether a mathematical answer equals the reference",
		Long: "Compares one pair, or reads lines {\"gold\":...,\"answer\":...} and writes {\"verdict\":...,\"gold\":...,\"answer\":...,\"reason\":...} in the same\n" +
			"order. Verdicts: equal, different, gold-unparseable (leave the sample out), answer-unparseable. An answer may be a whole completion.",
		Example: "  r1 verify --gold '\\frac{1}{2}' --answer 'So it is \\boxed{0.5}.'\n  r1 verify --input pairs.jsonl",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var ok bool
			if policy.Percent, ok = percents[percent]; !ok {
				return fmt.Errorf("%w: --percent is %q; want either, hundredth or label", errUsage, percent)
			}
			one := cmd.Flags().Changed("gold") || cmd.Flags().Changed("answer")
			if one && (cmd.Flags().Changed("input") || !cmd.Flags().Changed("gold") || !cmd.Flags().Changed("answer")) {
				return fmt.Errorf("%w: want --gold with --answer, or --input", errUsage)
			}
			w := bufio.NewWriter(cmd.OutOrStdout())
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			write := func(gold, answer string) error {
				r := mathx.Verify(gold, answer, policy)
				return enc.Encode(verified{r.Verdict.String(), r.Gold, r.Answer, r.Reason})
			}
			if one {
				return errors.Join(write(gold, answer), w.Flush())
			}
			err := eachLine(input, cmd.InOrStdin(), func(text []byte) error {
				var pair struct{ Gold, Answer *string }
				if err := json.Unmarshal(text, &pair); err != nil {
					return err
				}
				if pair.Gold == nil || pair.Answer == nil {
					return errors.New(`want "gold" and "answer", both strings`)
				}
				return write(*pair.Gold, *pair.Answer)
			})
			return errors.Join(err, w.Flush())
		},
	}
	f := cmd.Flags()
	f.StringVar(&gold, "gold", "", "the reference: a bare answer, a box, or a solution of GSM8K or MATH")
	f.StringVar(&answer, "answer", "", "the answer or the whole completion")
	f.StringVar(&input, "input", "-", "a .jsonl file of pairs; -: stdin")
	f.StringVar(&percent, "percent", "either", "50% is equal to: hundredth 0.5, label 50, either")
	f.Float64Var(&policy.Tolerance, "tolerance", 0, "relative difference up to which numbers are equal")
	f.BoolVar(&policy.Ordered, "ordered", false, "bare lists have an order")
	f.BoolVar(&policy.RequireUnits, "require-units", false, "a unit that only one side has makes a difference")
	f.BoolVar(&policy.RequireEvaluated, "require-evaluated", false, "refuse answers such as 1/4 + 1/7")
	return cmd
}

var percents = map[string]mathx.Percent{"either": mathx.PercentEither, "hundredth": mathx.PercentIsHundredth, "label": mathx.PercentIsLabel}
