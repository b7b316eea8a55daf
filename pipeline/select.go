package pipeline

import (
	"context"
	"iter"

	"github.com/gor1/gor1/sampling/pick"
)

// Selected is how a selection among recorded completions went.
type Selected struct {
	Groups   int         `json:"groups"`
	Covered  int         `json:"groups_kept"` // with at least one kept
	Drawn    int         `json:"drawn"`
	Kept     int         `json:"kept"`
	Tokens   int64       `json:"tokens_kept"`
	Dropped  pick.Counts `json:"dropped"`
	PassRate [6]int      `json:"pass_rate"` // groups whose share of right completions is 0, below 1/4, 1/2, 3/4 and 1, and 1
	Unrated  int         `json:"unrated"`   // groups of which none was scored
}

// Pass is what makes a completion right, for a group's pass rate: the part of that name gave at least Min.
type Pass struct {
	Name string
	Min  float64
}

// Select applies keep to each group and hands every kept completion to write, with its group's pass rate, in order. keep may be costly and
// remember; it is called once a group.
func Select(ctx context.Context, groups iter.Seq2[Recorded, error], keep pick.Selector, pass Pass, write func(g Recorded, c pick.Candidate, rate float64, rated bool) error) (Selected, error) {
	s := Selected{Dropped: pick.Counts{}}
	for g, err := range groups {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return s, err
		}
		if err := keep(ctx, g.Group); err != nil {
			return s, err
		}
		rate, rated := pick.PassRate(g.Group, pass.Name, pass.Min)
		s.count(g, rate, rated)
		for _, c := range g.Group {
			if c.Why != "" {
				continue
			}
			if err := write(g, c, rate, rated); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

// count adds a group.
func (s *Selected) count(g Recorded, rate float64, rated bool) {
	s.Groups++
	s.Drawn += len(g.Group)
	s.Dropped.Count(g.Group)
	before := s.Kept
	for _, c := range g.Group {
		if c.Why == "" {
			s.Kept++
			s.Tokens += int64(len(c.Tokens))
		}
	}
	if s.Kept > before {
		s.Covered++
	}
	switch {
	case !rated:
		s.Unrated++
	case rate == 0:
		s.PassRate[0]++
	case rate == 1:
		s.PassRate[5]++
	default:
		s.PassRate[1+min(3, int(rate*4))]++
	}
}
