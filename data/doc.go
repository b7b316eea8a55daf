// Package data reads training rows: texts, messages, prompts with completions, problems with answers.
package data
