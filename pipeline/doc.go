// Package pipeline holds the training loops: DeepSeek-R1's recipe as stages that a program can run one by one.
package pipeline
