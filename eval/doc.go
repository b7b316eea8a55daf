// Package eval measures a policy: pass@k, majority votes, and whether a difference is one.
package eval
