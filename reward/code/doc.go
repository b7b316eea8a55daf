// Package code judges programs written by a model: it runs Python, Go and C++ in a sandbox (package sandbox below it) and
// compares what they answer with what was expected, without ever showing them what was expected.
//
// The job and the grader are different processes. A job gets the input of one test, or the arguments of one call, and
// nothing else; expected values stay with the grader. The exit status, files and prints of a job are never a verdict.
//
//   - A program with tests on stdin and stdout runs once per test, in a fresh sandbox each time; its output is compared
//     here, in Go.
//   - A Python function with tests in Python (HumanEval, MBPP) or with arguments and results in JSON (APPS, TACO): the
//     tests run in a second sandbox, where every name of the answer is a stand-in that sends the arguments to the job and
//     gets back a value built of None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset and dict, made
//     anew in the grader. An object with its own __eq__, a frame walk or a patched builtin stays in the job, where there
//     is nothing to win.
//
// [Grader.Code] and [Grader.Binary] are the reward functions "code" and "binary_code".
package code
