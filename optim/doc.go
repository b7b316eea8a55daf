// Package optim changes parameters: AdamW with parameter groups, learning-rate schedules, clipping by the global norm.
package optim
