// Package grpo is Group Relative Policy Optimization (arXiv 2402.03300) and its published variants: advantages and losses
// as pure functions over packed tensors, and a thin Trainer over them. PPO, with a critic in the group's place, is there for
// contrast. A program that brings its own policy implements the small Policy interface declared here.
package grpo
