package code

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/gor1/gor1/reward"
)

// The languages an answer may be written in.
const (
	Python = "python"
	Go     = "go"
	CPP    = "cpp"
)

// language maps the names that data sets and code fences use to ours.
func language(name string) string {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "", "python", "python3", "py", "pypy", "pypy3":
		return Python
	case "go", "golang", "go_test.go":
		return Go
	case "cpp", "c++", "cc", "cxx", "c++17", "c++20":
		return CPP
	}
	return name
}

// Tests are the tests of one problem: programs over stdin and stdout, or calls of functions.
type Tests struct {
	Language string // Python, Go or CPP
	Stdio    []Case // for programs

	// For functions. Prelude and Setup are the data set's own code and are run with the tests, Prelude also before the
	// answer. Each of Asserts is one test: statements that raise where the answer is wrong. In Go, Prelude is a file that ends
	// in the open function Entry, and Asserts is one text with test functions.
	Prelude string
	Setup   string
	Entry   string // the function under test; empty: the names that the tests use and do not define
	Asserts []string
	Calls   []Call
}

// Case is one run of a program.
type Case struct {
	Input, Output string
}

// Call is one call with plain arguments, and the result it should have; tuples count as lists.
type Call struct {
	Fn   string            `json:"fn"`
	Args []json.RawMessage `json:"args"`
	Want json.RawMessage   `json:"want"`
}

func (t Tests) count() int { return len(t.Stdio) + len(t.Asserts) + len(t.Calls) }

// program is what the job runs for an answer: with a prelude (HumanEval's prompt, which ends in an open function) an
// answer may be the rest of that function or the whole of it.
func (t Tests) program(answer string) string {
	switch {
	case t.Prelude == "":
		return answer
	case t.Entry != "" && !defines(answer, t.Entry):
		return t.Prelude + answer
	}
	return t.Prelude + "\n    pass\n\n" + answer
}

func defines(source, name string) bool {
	return regexp.MustCompile(`(?m)^(async\s+)?(def|class)\s+` + regexp.QuoteMeta(name) + `\b|^` + regexp.QuoteMeta(name) + `\s*=`).MatchString(source)
}

// ParseTests finds the tests of a problem in the columns of its row:
//
//   - verification_info (an object, or its JSON): language and test_cases, each with input and output, and fn_name where
//     it is a call (open-r1, verifiable-coding-problems);
//   - test_cases or tests: the same list, with the language in language;
//   - test_list with test_setup_code (MBPP);
//   - test with entry_point (HumanEval), after the column prompt or the problem's prompt where that is code; with the
//     language Go, test functions in Go after a Go prompt (MultiPL-E).
func ParseTests(p reward.Problem) (Tests, error) {
	c := p.Columns
	switch {
	case c["verification_info"] != nil:
		var info struct {
			Language  string          `json:"language"`
			TestCases json.RawMessage `json:"test_cases"`
		}
		if err := column(c["verification_info"], &info); err != nil {
			return Tests{}, fmt.Errorf("code: column verification_info: %w", err)
		}
		return parseCases(language(info.Language), info.TestCases)
	case c["test_cases"] != nil:
		return parseCases(language(text(c["language"])), c["test_cases"])
	case c["test_list"] != nil:
		t := Tests{Language: Python, Setup: text(c["test_setup_code"]), Entry: text(c["entry_point"])}
		if err := column(c["test_list"], &t.Asserts); err != nil {
			return Tests{}, fmt.Errorf("code: column test_list: %w", err)
		}
		return t, t.check()
	case c["test"] != nil && language(text(c["language"])) == Go:
		t := Tests{Language: Go, Prelude: text(c["prompt"]), Asserts: []string{text(c["test"])}}
		if goEntry(t.Prelude) == "" {
			t.Prelude = p.Prompt
		}
		if t.Entry = goEntry(t.Prelude); t.Entry == "" {
			return Tests{}, errors.New("code: the prompt has no Go function to complete")
		}
		return t, t.check()
	case c["test"] != nil:
		return parseHumanEval(p)
	}
	return Tests{}, errors.New("code: the row has none of the columns verification_info, test_cases, test_list, test")
}

func parseHumanEval(p reward.Problem) (Tests, error) {
	t := Tests{Language: Python, Entry: text(p.Columns["entry_point"])}
	test := text(p.Columns["test"])
	if t.Entry != "" {
		test += "\ncheck(" + t.Entry + ")\n"
	} else if m := regexp.MustCompile(`(?m)^check\((\w+)\)\s*$`).FindStringSubmatch(test); m != nil {
		t.Entry = m[1]
	}
	for _, prompt := range []string{text(p.Columns["prompt"]), p.Prompt} {
		if t.Prelude == "" && t.Entry != "" && defines(prompt, t.Entry) {
			t.Prelude = prompt
		}
	}
	t.Asserts = []string{test}
	return t, t.check()
}

// check refuses what would make every answer pass.
func (t Tests) check() error {
	if t.count() == 0 {
		return errors.New("code: the problem has no tests")
	}
	for i, a := range t.Asserts {
		if strings.TrimSpace(a) == "" {
			return fmt.Errorf("code: test %d is empty", i)
		}
	}
	return nil
}

// testCase is one element of test_cases as data sets have it: strings, or JSON values for calls.
type testCase struct {
	Fn     string          `json:"fn_name"`
	Input  json.RawMessage `json:"input"`
	Output json.RawMessage `json:"output"`
}

func parseCases(lang string, v any) (Tests, error) {
	t := Tests{Language: lang}
	var cases []testCase
	if err := column(v, &cases); err != nil {
		return Tests{}, fmt.Errorf("code: test_cases: %w", err)
	}
	for i, c := range cases {
		if c.Fn == "" {
			var s Case
			if err := errors.Join(json.Unmarshal(c.Input, &s.Input), json.Unmarshal(c.Output, &s.Output)); err != nil {
				return Tests{}, fmt.Errorf("code: test case %d: input and output must be strings: %w", i, err)
			}
			t.Stdio = append(t.Stdio, s)
			continue
		}
		call, err := parseCall(c)
		if err != nil {
			return Tests{}, fmt.Errorf("code: test case %d: %w", i, err)
		}
		t.Calls = append(t.Calls, call)
	}
	if len(t.Stdio) > 0 && len(t.Calls) > 0 {
		return Tests{}, errors.New("code: test cases with and without fn_name in one problem")
	}
	return t, t.check()
}

// parseCall reads the arguments of a call: a list of them, or a string with that list as JSON or with one JSON value a
// line; and the result: a value, or a string with its JSON.
func parseCall(c testCase) (Call, error) {
	call := Call{Fn: c.Fn, Want: c.Output}
	var s string
	if json.Unmarshal(c.Output, &s) == nil && json.Valid([]byte(s)) {
		call.Want = json.RawMessage(s)
	}
	if json.Unmarshal(c.Input, &call.Args) == nil {
		return call, nil
	}
	if err := json.Unmarshal(c.Input, &s); err != nil {
		return Call{}, fmt.Errorf("input %.100s is neither a list nor a string", c.Input)
	}
	if json.Unmarshal([]byte(s), &call.Args) == nil {
		return call, nil
	}
	for _, line := range lines(s) {
		if !json.Valid([]byte(line)) {
			return Call{}, fmt.Errorf("argument %.100q is not JSON", line)
		}
		call.Args = append(call.Args, json.RawMessage(line))
	}
	return call, nil
}

// column decodes a column that is a value, or a string with its JSON.
func column(v, to any) error {
	var b []byte
	var err error
	switch v := v.(type) {
	case string:
		b = []byte(v)
	case json.RawMessage:
		b = v
	default:
		if b, err = json.Marshal(v); err != nil {
			return err
		}
	}
	return json.Unmarshal(b, to)
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
