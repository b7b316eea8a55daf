package grpo

import "math"

// HackingAlarm tells when a policy learns to please a reward model instead of doing what it was to judge: the reward goes up while a
// score that is not paid, such as a rule's on held-out problems, goes down (reward hacking: arXiv 2501.12948, supplement B.5; measured
// against a gold reward in arXiv 2210.10760).
type HackingAlarm struct {
	Window int     // latest measurements that are looked at
	Least  int     // fewer than these of both series say nothing
	Z      float64 // standard errors by which each trend must differ from 0
}

// DefaultHackingAlarm looks at 20 steps and wants three standard errors of both trends.
func DefaultHackingAlarm() HackingAlarm { return HackingAlarm{Window: 20, Least: 6, Z: 3} }

// Fires says whether, over the window that ends now, the reward's trend is up and the held-out score's down, both beyond their noise.
// Entry i of both is step i's; NaN where it was not measured.
func (a HackingAlarm) Fires(reward, held []float64) bool {
	return a.trend(reward) >= a.Z && a.trend(held) <= -a.Z
}

// trend is the slope of the least-squares line through the last values in standard errors of the slope; 0 where there are too few.
func (a HackingAlarm) trend(series []float64) float64 {
	var x, y []float64
	for i := max(0, len(series)-a.Window); i < len(series); i++ {
		if !math.IsNaN(series[i]) {
			x, y = append(x, float64(i)), append(y, series[i])
		}
	}
	n := float64(len(y))
	if len(y) < max(a.Least, 3) {
		return 0
	}
	mx, my := mean(x), mean(y)
	var sxx, sxy, syy float64
	for i := range x {
		sxx += float64((x[i] - mx) * (x[i] - mx))
		sxy += float64((x[i] - mx) * (y[i] - my))
		syy += float64((y[i] - my) * (y[i] - my))
	}
	slope := sxy / sxx
	if slope == 0 {
		return 0
	}
	rest := math.Max(syy-float64(slope*sxy), 0) // squared distances from the line
	return slope / math.Sqrt(rest/(n-2)/sxx)
}
