// Package sampling draws completions from the policy being trained, with the trainer's own weights and kernels: the
// log-probability of a sampled token is, bit for bit, the number the trainer computes for it again. Tokens that are likely to come are
// guessed and computed several at a time, which changes when they are there and not what they are (Options.Draft).
package sampling

import "github.com/gor1/gor1/reward"

// Group is the unit of data: one problem and the samples drawn for it. Token ids travel; text is for people and rewards.
type Group struct {
	Problem     reward.Problem
	Step        uint32   // optimiser step whose weights drew the samples
	Row         uint32   // row of the data set; with Step, the sample's number and a position it is a draw's counter
	Temperature float32  // the samples were drawn at; 0: greedily, with log-probs at 1
	Prompt      []int32  // token ids of the prompt
	Samples     []Sample // in sample order, whatever order they finished in
}

// Sample is one completion. LogP and Entropy are those of the policy as it was sampled (temperature applied, restricted
// to Keep), in nats, one value a token.
type Sample struct {
	Tokens  []int32   // the completion; a sampled end-of-sequence token is included, and trained
	LogP    []float32 // log-probability of each token
	Entropy []float32 // entropy of the distribution each token was drawn from
	Mass    []float32 // where Keep is: the probability that those ids had together
	Keep    [][]int32 // the ids a truncated sampler (top-k, top-p, min-p) chose among, ascending, for each token; nil: all
	Stop    Stop
	Score   reward.Score
	Parts   []reward.Part
}

// Text is what the model wrote, without the end-of-sequence token that it ended with.
func (s *Sample) Text(codec Codec) string {
	tokens := s.Tokens
	if s.Stop == StopEOS {
		tokens = tokens[:len(tokens)-1]
	}
	return codec.Decode(tokens)
}

// Stop says why a sample ended.
type Stop uint8

// Reasons to stop.
const (
	StopNone   Stop = iota // still running: never seen in a finished group
	StopEOS                // the model wrote an end-of-sequence token
	StopLength             // the length limit cut it
	StopString             // a stop string appeared
)

// String returns the name used in files and metrics: "eos", "length", "stop" or "none".
func (s Stop) String() string {
	switch s {
	case StopEOS:
		return "eos"
	case StopLength:
		return "length"
	case StopString:
		return "stop"
	}
	return "none"
}
