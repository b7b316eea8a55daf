package pipeline

import (
	"fmt"

	"github.com/gor1/gor1/grpo"
)

// Alarms are what a run is watched for. Each number is a limit; 0 leaves that watch out. An alarm changes nothing in the run: it is told,
// written to the metrics, and says what to do.
type Alarms struct {
	ZeroStd   float64           // share of groups that teach nothing
	Truncated float64           // share of completions cut at the length limit
	Unscored  float64           // share of completions that no reward could judge
	Entropy   float64           // below this share of the entropy at the start
	KL        float64           // nats a token away from the reference
	Length    float64           // longer, or shorter, than at the start by this factor
	Hacking   grpo.HackingAlarm // held-out accuracy goes down while the reward goes up
	Patience  int               // steps in a row before the first six are told; 0: 1
}

// DefaultAlarms are limits that healthy runs of r1zero never reach.
func DefaultAlarms() Alarms {
	return Alarms{ZeroStd: 0.9, Truncated: 0.5, Unscored: 0.2, Entropy: 0.1, KL: 1, Length: 4, Hacking: grpo.DefaultHackingAlarm(), Patience: 5}
}

// alarmState is what the watches remember.
type alarmState struct {
	Steps   int            `json:"steps"`
	Entropy float64        `json:"entropy"` // means over the first steps
	Length  float64        `json:"length"`
	Run     map[string]int `json:"run,omitempty"` // steps in a row beyond the limit, by name
	Held    []float64      `json:"held"`          // held-out accuracy at each measurement
	Reward  []float64      `json:"reward"`        // mean reward of the steps since the one before
	Sum     float64        `json:"sum"`           // of rewards since the last measurement
	Since   int            `json:"since"`         // steps since then
}

const alarmStart = 5 // steps that "the start" is the mean of

// look updates the state with a step of so many samples and returns what is wrong.
func (a Alarms) look(s *alarmState, st grpo.StepStats, samples int, held *Held) []string {
	if s.Steps < alarmStart {
		s.Entropy += st.Entropy / alarmStart
		s.Length += st.MeanLength / alarmStart
	}
	s.Steps++
	if s.Run == nil {
		s.Run = map[string]int{}
	}
	var out []string
	watch := func(name string, beyond bool, format string, args ...any) {
		if !beyond {
			delete(s.Run, name)
			return
		}
		if s.Run[name]++; s.Run[name] >= max(a.Patience, 1) {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	kl, begun := st.KL/max(st.Tokens, 1), s.Steps > alarmStart
	watch("zero_std", a.ZeroStd > 0 && st.ZeroStd > a.ZeroStd, "%.0f %% of the groups have equal rewards and teach nothing: use harder or easier problems, more samples, or refill", 100*st.ZeroStd)
	watch("truncated", a.Truncated > 0 && st.Truncated > a.Truncated, "%.0f %% of the completions are cut at the length limit: raise max_completion_length, or mask them", 100*st.Truncated)
	unscored := float64(st.Unscored) / float64(max(samples, 1))
	watch("unscored", a.Unscored > 0 && unscored > a.Unscored, "%.0f %% of the completions could not be scored and are left out: rollouts/ says why; see to the judge", 100*unscored)
	watch("kl", a.KL > 0 && kl > a.KL, "the policy is %.2f nats a token from its reference: lower the learning rate or raise beta", kl)
	watch("entropy", a.Entropy > 0 && begun && st.Entropy < a.Entropy*s.Entropy, "entropy fell from %.3f to %.3f: the policy is collapsing; raise epsilon_high, add an entropy bonus, or stop", s.Entropy, st.Entropy)
	watch("length", a.Length > 0 && begun && (st.MeanLength > a.Length*s.Length || st.MeanLength*a.Length < s.Length), "completions went from %.0f to %.0f tokens: look at rollouts/", s.Length, st.MeanLength)
	s.Sum, s.Since = s.Sum+st.Reward, s.Since+1
	if held == nil || a.Hacking.Window == 0 {
		return out
	}
	s.Held, s.Reward = append(s.Held, held.Accuracy), append(s.Reward, s.Sum/float64(s.Since))
	s.Sum, s.Since = 0, 0
	if a.Hacking.Fires(s.Reward, s.Held) {
		out = append(out, fmt.Sprintf("held-out accuracy goes down (now %.3f) while the reward goes up: the reward is being gamed; look at rollouts/ and go back to the best checkpoint", held.Accuracy))
	}
	return out
}
