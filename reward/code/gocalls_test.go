package code

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/code/sandbox"
)

// A problem in the form of MultiPL-E's HumanEval in Go.
var goProblem = reward.Problem{Columns: map[string]any{
	"language": "go_test.go",
	"prompt":   "package pick_test\n\nimport (\n    \"testing\"\n    \"fmt\"\n)\n\n// The integers among the values, and their sum as a float.\nfunc pick(values []interface{}, skip map[string]int) ([]int, float64, interface{}) {\n",
	"test": `func TestPick(t *testing.T) {
	candidate := pick
	for i, tc := range []struct {
		in   []interface{}
		want string
	}{{[]interface{}{1, "a", 2.5, []int{4}, 3}, "[1 3] 4"}, {nil, "[] 0"}, {[]interface{}{-7, true, nil, "é\xff"}, "[-7] -7"}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			ints, sum, last := candidate(tc.in, map[string]int{"x": 1})
			if got := fmt.Sprintf("%v %v", ints, sum); got != tc.want || last != any("done") {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
`}}

const goBody = `    var out []int
    sum := 0.0
    for _, v := range values {
        if n, ok := v.(int); ok && skip["x"] == 1 {
            out, sum = append(out, n), sum+float64(n)
        }
    }
    return out, sum, "done"
}
`

const goSignature = "func pick(values []interface{}, skip map[string]int) ([]int, float64, interface{}) {\n"

// Functions in Go are judged by tests in Go that the answer's program does not hold.
func TestGoCalls(t *testing.T) {
	g := newGrader(t, Config{Test: sandbox.Limits{CPU: time.Second, Wall: 10 * time.Second}})
	if g.cfg.GoRoot == "" || g.cfg.Sandbox.Kind() == "landlock+seccomp" {
		t.Skip("no Go distribution in /usr/local/go or /usr/lib/go, or a sandbox that cannot compile")
	}
	tests, err := ParseTests(goProblem)
	require.NoError(t, err)
	require.Equal(t, "pick", tests.Entry)
	for name, c := range map[string]struct {
		answer string
		right  bool
	}{
		"the rest":             {goBody, true},
		"the whole":            {goSignature + goBody, true},
		"a file":               {"package answer\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\n" + goSignature + "\tfmt.Fprintln(os.Stdout, \"noise\")\n" + goBody + "\nfunc main() { os.Exit(0) }\n", true},
		"wrong":                {"    return nil, 0, \"done\"\n}\n", false},
		"does not compile":     {"    return 1\n}\n", false},
		"not Go":               {"}}}", false},
		"exit":                 {"package x\n\nimport \"os\"\n\n" + goSignature + "\tos.Exit(0)\n\treturn nil, 0, nil\n}\n", false},
		"exit in init":         {"package x\n\nimport \"os\"\n\nfunc init() { os.Exit(0) }\n\n" + goSignature + goBody, false},
		"panic":                {"    panic(\"PASS\")\n}\n", false},
		"endless":              {"    for {\n    }\n}\n", false},
		"print PASS":           {"    fmt.Println(\"PASS\\nok\")\n    return nil, 0, \"done\"\n}\n", false},
		"a liar for an any":    {"package x\n\ntype liar string\n\n" + goSignature + "\treturn []int{1, 3}, 4, liar(\"done\")\n}\n", false},
		"write to descriptors": {"package x\n\nimport \"syscall\"\n\n" + goSignature + "\tfor fd := range 64 {\n\t\tsyscall.Write(fd, []byte(\"PASS\\n[\\\"ok\\\",[null,\\\"0\\\",null]]\\n\"))\n\t}\n\treturn nil, 0, nil\n}\n", false},
		"stop the tests":       {"package x\n\nimport \"testing\"\n\nfunc TestPick(t *testing.T) {}\n\n" + goSignature + "\treturn nil, 0, nil\n}\n", false},
		"patch the wire":       {"package x\n\nfunc init() { wireOut.Write([]byte(\"[\\\"ok\\\",[]]\\n\")) }\n\n" + goSignature + "\treturn nil, 0, nil\n}\n", false},
		"kill the parent":      {"package x\n\nimport \"syscall\"\n\n" + goSignature + "\tsyscall.Kill(syscall.Getppid(), 9)\n\tsyscall.Kill(-1, 9)\n\treturn nil, 0, nil\n}\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rep, err := g.Grade(t.Context(), tests, c.answer)
			require.NoError(t, err)
			require.Equal(t, c.right, rep.All(), "%+v", rep)
			require.Len(t, rep.Tests, 1)
		})
	}
	for name, test := range map[string]string{
		"no test": "var x = 1", "no call": "func TestX(t *testing.T) {}", "not Go": "func (", "does not compile": "func TestX(t *testing.T) { pick(1) }",
	} {
		broken := tests
		broken.Asserts = []string{test}
		_, err := g.Grade(t.Context(), broken, goBody)
		require.ErrorContains(t, err, "tests are broken", name)
	}
}
