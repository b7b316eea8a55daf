// Package eval measures a policy: pass@k, majority votes, intervals, and whether a difference between two policies on the same
// problems is one. Pure functions over counts and scores; the same seed gives the same resamples everywhere.
package eval
