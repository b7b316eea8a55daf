package reward

import (
	"context"
	"errors"
	"strings"

	"github.com/gor1/gor1/reward/mathx"
)

// Math is [MathUnder] the default policy.
var Math = MathUnder(mathx.Policy{})

// MathUnder is 1 for a completion whose final answer equals the reference by mathematics (package mathx), else 0; it asks for no
// format, which is [Format]'s business ([Gate] joins the two). A completion cut at the length limit is 0. A problem without a
// reference is not scored, and neither is one whose reference cannot be read: that is an error, counted and never a 0.
func MathUnder(p mathx.Policy) Func {
	return Named("accuracy", func(_ context.Context, s Sample) (Score, error) {
		if strings.TrimSpace(s.Problem.Answer) == "" {
			return Score{}, nil
		}
		if s.Truncated {
			return Scored(0), nil
		}
		r := mathx.Verify(s.Problem.Answer, s.Completion, p)
		switch r.Verdict {
		case mathx.GoldUnparseable:
			return Score{}, errors.New("reward: the reference cannot be read: " + r.Reason)
		case mathx.Equal:
			return Scored(1), nil
		}
		return Scored(0), nil
	})
}
