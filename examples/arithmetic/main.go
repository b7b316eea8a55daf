// Command arithmetic writes the data set of the run on a real model: two steps of arithmetic in words, after three worked examples. No
// question of one split is in the other.
//
//	go run ./examples/arithmetic --out arithmetic
//	r1 grpo --config recipes/SmolLM2-135M-Instruct/arithmetic.yaml --model_name_or_path DIR
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

var words = []string{"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// row is a problem in the shape that r1 grpo reads.
type row struct {
	Prompt []message `json:"prompt"`
	Answer string    `json:"answer"`
}

// shots show how an answer looks. They are the same for every question.
var shots = []message{
	{"user", "What is two plus three minus one?"}, {"assistant", "2 + 3 = 5, 5 - 1 = 4. The answer is 4."},
	{"user", "What is nine minus four plus six?"}, {"assistant", "9 - 4 = 5, 5 + 6 = 11. The answer is 11."},
	{"user", "What is one plus eight plus five?"}, {"assistant", "1 + 8 = 9, 9 + 5 = 14. The answer is 14."},
}

// question draws one whose values stay at 0 or above.
func question(r *rand.Rand) (text string, answer int) {
	for {
		n := 1 + r.IntN(12)
		text, low := "What is "+words[n], n
		for range 2 {
			b, op := 1+r.IntN(12), " plus "
			if r.IntN(2) == 0 {
				b, op = -b, " minus "
			}
			text, n = text+op+words[max(b, -b)], n+b
			low = min(low, n)
		}
		if low >= 0 {
			return text + "?", n
		}
	}
}

// heldOut deals a question to a split by what it says, so that the two share none.
func heldOut(text string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text))
	return h.Sum32()%5 == 0
}

// write writes n different questions of one split.
func write(path string, n int, held bool, r *rand.Rand) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	enc := json.NewEncoder(f)
	for seen := map[string]bool{}; len(seen) < n; {
		text, answer := question(r)
		if heldOut(text) != held || seen[text] || text == shots[0].Content || text == shots[2].Content || text == shots[4].Content {
			continue
		}
		seen[text] = true
		if err := enc.Encode(row{append(shots[:len(shots):len(shots)], message{"user", text}), strconv.Itoa(answer)}); err != nil {
			return err
		}
	}
	return f.Close()
}

func main() {
	out, seed := flag.String("out", "arithmetic", "folder for train.jsonl and test.jsonl"), flag.Uint64("seed", 1, "of the questions")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "arithmetic: no arguments, only flags; see --help")
		os.Exit(2)
	}
	const train, test = 2000, 500 // of some 4,500 questions there are
	r := rand.New(rand.NewPCG(*seed, 0x776f726473))
	err := os.MkdirAll(*out, 0o755)
	if err == nil {
		err = write(filepath.Join(*out, "train.jsonl"), train, false, r)
	}
	if err == nil {
		err = write(filepath.Join(*out, "test.jsonl"), test, true, r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "arithmetic:", err)
		os.Exit(1)
	}
	fmt.Printf("%s: %d questions to train on, %d to measure on\n", *out, train, test)
}
