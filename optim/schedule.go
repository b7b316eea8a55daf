package optim

import "math"

// Schedule gives the factor of the peak learning rate at a step, counted from 0. All but Constant go up linearly from 0 over
// warmup steps first.
type Schedule func(step int) float64

// Constant is 1 at every step.
func Constant() Schedule { return func(int) float64 { return 1 } }

// ConstantWithWarmup goes up and stays.
func ConstantWithWarmup(warmup int) Schedule {
	return warm(warmup, func(int) float64 { return 1 })
}

// Linear goes up, then down in a line to floor at step total (0 in transformers' linear).
func Linear(warmup, total int, floor float64) Schedule {
	return warm(warmup, func(step int) float64 {
		left := math.Max(0, float64(total-step)/math.Max(1, float64(total-warmup)))
		return floor + float64(left*(1-floor))
	})
}

// Cosine goes up, then down along half a cosine to floor at step total (0 in transformers' cosine; R1's SFT ends at a tenth).
func Cosine(warmup, total int, floor float64) Schedule {
	return warm(warmup, func(step int) float64 {
		done := float64(step-warmup) / math.Max(1, float64(total-warmup))
		factor := 0.5 * (1 + math.Cos(math.Pi*done))
		return math.Max(0, float64(factor*(1-floor))+floor)
	})
}

// WSD is warm-up, stable, decay: up from floor, level for stable steps, then along half a cosine to floor over decay steps.
func WSD(warmup, stable, decay int, floor float64) Schedule {
	lift := func(factor float64) float64 { return math.Max(0, float64(factor*(1-floor))+floor) }
	return func(step int) float64 {
		switch {
		case step < warmup:
			return lift(float64(step) / math.Max(1, float64(warmup)))
		case step < warmup+stable:
			return 1
		case step < warmup+stable+decay:
			done := float64(step-warmup-stable) / math.Max(1, float64(decay))
			return lift(0.5 * (1 + math.Cos(math.Pi*done)))
		}
		return floor
	}
}

func warm(warmup int, after Schedule) Schedule {
	return func(step int) float64 {
		if step < warmup {
			return float64(step) / math.Max(1, float64(warmup))
		}
		return after(step)
	}
}
