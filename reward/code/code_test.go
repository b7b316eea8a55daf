package code

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/code/sandbox"
)

func value(t *testing.T, f reward.Func, s reward.Sample) float64 {
	score, err := f(t.Context(), s)
	require.NoError(t, err)
	v, ok := score.Value()
	require.True(t, ok)
	return v
}

func TestExtract(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"one":              {"text\n```python\nx = 1\n```\nmore", "x = 1\n"},
		"last":             {"```python\na\n```\n```python\nb\n```", "b\n"},
		"language first":   {"```python\na\n```\nIts output:\n```\n5\n```", "a\n"},
		"no language":      {"```\na\n```", "a\n"},
		"other language":   {"```js\na\n```", "a\n"},
		"cut":              {"```python\na\n```\n```python\nb", ""},
		"none":             {"x = 1", ""},
		"thinking":         {"<think>\n```python\na\n```\n</think>\nI cannot", ""},
		"after thinking":   {"<think>\n```python\na\n</think>\n```python\nb\n```", "b\n"},
		"tildes":           {"~~~python\na\n```\n~~~", "a\n```\n"},
		"longer fence":     {"````python\na\n```\nb\n````", "a\n```\nb\n"},
		"indented, CRLF":   {"  ```python\r\nif a:\r\n    b\r\n  ```\r\n", "if a:\n    b\n"},
		"inline backticks": {"``` is a fence", ""},
	} {
		require.Equal(t, c.want, Extract(c.in, Python), name)
	}
}

func TestParseTests(t *testing.T) {
	parse := func(columns map[string]any) (Tests, error) { return ParseTests(reward.Problem{Columns: columns}) }
	got, err := parse(map[string]any{"verification_info": `{"language": "python", "test_cases": [{"input": "1\n", "output": "2\n", "fn_name": null, "type": "stdin_stdout"}]}`})
	require.NoError(t, err)
	require.Equal(t, Tests{Language: Python, Stdio: []Case{{"1\n", "2\n"}}}, got)

	got, err = parse(map[string]any{"verification_info": map[string]any{"language": "python", "test_cases": []any{
		map[string]any{"fn_name": "f", "input": "[1, 2]\n\"x\"", "output": "[3]"}, map[string]any{"fn_name": "f", "input": []any{1, 2}, "output": 3}}}})
	require.NoError(t, err)
	require.Equal(t, "[1, 2]", string(got.Calls[0].Args[0]))
	require.Equal(t, `"x"`, string(got.Calls[0].Args[1]))
	require.Equal(t, "[3]", string(got.Calls[0].Want))
	require.Len(t, got.Calls[1].Args, 2)

	got, err = parse(map[string]any{"test_list": []any{"assert f(1) == 2"}, "test_setup_code": "import math"})
	require.NoError(t, err)
	require.Equal(t, Tests{Language: Python, Setup: "import math", Asserts: []string{"assert f(1) == 2"}}, got)

	got, err = parse(map[string]any{"prompt": "def f(x):\n    \"\"\"Double x.\"\"\"\n", "test": "def check(candidate):\n    assert candidate(1) == 2\n", "entry_point": "f"})
	require.NoError(t, err)
	require.Equal(t, "f", got.Entry)
	require.Contains(t, got.Asserts[0], "check(f)")
	require.Equal(t, got.Prelude+"    return 2 * x\n", got.program("    return 2 * x\n"))

	for name, c := range map[string]map[string]any{
		"nothing": {}, "no tests": {"test_list": []any{}}, "empty test": {"test_list": []any{" "}}, "not JSON": {"verification_info": "{"},
		"no cases": {"verification_info": "{}"}, "numbers": {"test_cases": `[{"input": 1, "output": 2}]`},
		"mixed": {"test_cases": `[{"input": "", "output": ""}, {"fn_name": "f", "input": [], "output": 1}]`},
	} {
		_, err := parse(c)
		require.ErrorContains(t, err, "code: ", name)
	}
}

// The rewards on problems of each kind: share of tests, all or nothing, and what is not scored.
func TestRewards(t *testing.T) {
	g := newGrader(t, Config{Test: sandbox.Limits{CPU: time.Second, Wall: 5 * time.Second}})
	fence := func(s string) string { return "Here it is:\n```python\n" + s + "```\n" }
	mbppRow := map[string]any{"test_list": []any{"assert f(1) == 2", "assert f(2) == 4", "assert f(3) == 6", "assert f(0) == 0"}}
	stdio := map[string]any{"verification_info": map[string]any{"language": "python", "test_cases": []any{
		map[string]any{"input": "1 2\n", "output": "3\n"}, map[string]any{"input": "2 5\n", "output": "7"}}}}
	calls := map[string]any{"test_cases": []any{map[string]any{"fn_name": "f", "input": []any{1, []any{2}}, "output": []any{1, 2}},
		map[string]any{"fn_name": "f", "input": []any{true, []any{}}, "output": []any{true}}}}
	for name, c := range map[string]struct {
		columns    map[string]any
		completion string
		want       float64
	}{
		"right":           {mbppRow, fence("def f(x):\n    return 2 * x\n"), 1},
		"part":            {mbppRow, fence("def f(x):\n    return x + 1 if x == 1 else 4\n"), 0.5},
		"one hangs":       {mbppRow, fence("def f(x):\n    while x == 2: pass\n    return 2 * x\n"), 0.75},
		"one dies":        {mbppRow, fence("import os\ndef f(x):\n    x == 2 and os._exit(0)\n    return 2 * x\n"), 0.75},
		"no block":        {mbppRow, "def f(x): return 2 * x", 0},
		"syntax error":    {mbppRow, fence("def f(x:\n"), 0},
		"no function":     {mbppRow, fence("x = 1\n"), 0},
		"another name":    {mbppRow, fence("def ƒ(x):\n    return 2 * x\n"), 0},
		"too large":       {mbppRow, fence("def f(x):\n    return 10 ** 10 ** 5\n"), 0},
		"too deep":        {mbppRow, fence("def f(x):\n    l = []\n    for _ in range(10 ** 5): l = [l]\n    return l\n"), 0},
		"too long":        {mbppRow, fence("def f(x):\n    return 'x' * (1 << 23)\n"), 0},
		"endless":         {mbppRow, fence("import itertools\ndef f(x):\n    return itertools.count()\n"), 0},
		"program":         {stdio, fence("print(sum(map(int, input().split())))\n"), 1},
		"program, part":   {stdio, fence("print(3)\n"), 0.5},
		"program, status": {stdio, fence("print(sum(map(int, input().split())))\nraise SystemExit(1)\n"), 0},
		"program, extra":  {stdio, fence("print(sum(map(int, input().split())), 1)\n"), 0},
		"program, lines":  {stdio, fence("print(sum(map(int, input().split())))\nprint(5)\n"), 0},
		"program, blanks": {stdio, fence("print(sum(map(int, input().split())), '\\n\\n')\n"), 1},
		"program, silent": {stdio, fence("input()\n"), 0},
		"calls":           {calls, fence("def f(a, b):\n    return (a, *b)\n"), 1},
		"calls, part":     {calls, fence("def f(a, b):\n    return [1, *b]\n"), 0.5},
	} {
		s := reward.Sample{Problem: reward.Problem{Columns: c.columns}, Completion: c.completion}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, value(t, g.Code, s))
			require.Equal(t, float64(int(c.want)), value(t, g.Binary, s))
		})
	}
	for name, columns := range map[string]map[string]any{
		"no tests":       {},
		"broken test":    {"test_list": []any{"assert f(1) =="}},
		"broken setup":   {"test_list": []any{"assert f(1) == 2"}, "test_setup_code": "import nothing_like_it"},
		"calls nothing":  {"test_list": []any{"assert True"}},
		"never checked":  {"test": "def check(candidate):\n    assert candidate(1) == 2\n"},
		"other language": {"verification_info": `{"language": "cobol", "test_cases": [{"input": "", "output": ""}]}`},
	} {
		score, err := g.Code(t.Context(), reward.Sample{Problem: reward.Problem{Columns: columns}, Completion: fence("def f(x):\n    return 2 * x\n")})
		require.Error(t, err, name)
		require.Equal(t, reward.Score{}, score, name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := g.Code(ctx, reward.Sample{Problem: reward.Problem{Columns: mbppRow}, Completion: fence("def f(x):\n    return 2 * x\n")})
	require.ErrorIs(t, err, context.Canceled)
}

// Nothing passes from one run of a program to the next, and nothing of the tests can be read by it.
func TestStdioAttacks(t *testing.T) {
	g := newGrader(t, Config{Test: sandbox.Limits{CPU: time.Second}})
	tests := Tests{Language: Python, Stdio: []Case{{"1\n", "one\nuno\n"}, {"2\n", "two\ndos\n"}}}
	for name, answer := range map[string]string{
		"a counter in a file": "import os\nn = os.path.exists('n')\nopen('n', 'w').close()\nprint('two\\ndos' if n else 'x')\n",
		"only the first line": "print({'1': 'one', '2': 'two'}[input()])\n",
		"search the disk":     "import os\nfor d, _, fs in os.walk('/tmp'):\n    for f in fs:\n        t = open(os.path.join(d, f)).read()\n        if 'u' + 'no' in t: print(t)\n",
		"everything at once":  "print('one\\nuno\\ntwo\\ndos')\n",
		"exit code 0":         "raise SystemExit(0)\n",
		"PASSED":              "print('PASSED')\n",
		"flood":               "while True: print('one\\nuno')\n",
		"kill everything":     "import os\nos.kill(-1, 9)\n",
		"the parent's stdin":  "import os\nos.write(0, b'one\\nuno\\n')\n",
	} {
		rep, err := g.Grade(t.Context(), tests, answer)
		require.NoError(t, err, name)
		require.Zero(t, rep.Passed(), name)
		require.Len(t, rep.Tests, 2)
	}
	rep, err := g.Grade(t.Context(), tests, "print({'1': 'one\\nuno', '2': 'two\\ndos'}[input()])\n")
	require.NoError(t, err)
	require.True(t, rep.All())
	require.NotContains(t, quote([]byte("\x1b[2J\nPASSED")), "\x1b")
}

// C++ and Go answers are compiled in a sandbox; what they include or import from the machine is not there.
func TestCompiled(t *testing.T) {
	g := newGrader(t, Config{})
	if g.cfg.Sandbox.Kind() == "landlock+seccomp" {
		t.Skip("nothing can be compiled in a landlock+seccomp sandbox")
	}
	sum := []Case{{"1 2\n", "3\n"}, {"40 2\n", "42\n"}}
	for _, lang := range []struct {
		name, tool, right, wrong string
		hostile                  map[string]string
	}{
		{CPP, g.cfg.CXX, "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b << std::endl; }\n",
			"#include <iostream>\nint main() { std::cout << 3 << std::endl; }\n", map[string]string{
				"include a file":     "#include \"/etc/passwd\"\nint main() {}\n",
				"assemble a file":    "asm(\".incbin \\\"/etc/shadow\\\"\");\nint main() {}\n",
				"exit before main":   "#include <cstdlib>\n__attribute__((constructor)) void f() { exit(0); }\nint main() {}\n",
				"endless template":   "template<int N> struct S { static const int v = S<N + 1>::v; };\nint main() { return S<0>::v; }\n",
				"no main":            "int f() { return 0; }\n",
				"crash":              "int main() { volatile int *p = 0; *p = 1; }\n",
				"stack overflow":     "int f(int n) { volatile char c[4096]; c[0] = n; return f(n + 1) + c[0]; }\nint main() { return f(0); }\n",
				"replace the linker": "#pragma GCC poison main\nint main() {}\n",
			}},
		{Go, g.cfg.GoRoot, "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tvar a, b int\n\tfmt.Scan(&a, &b)\n\tfmt.Println(a + b)\n}\n",
			"package main\n\nfunc main() { println(3) }\n", map[string]string{
				"cgo":              "package main\n\nimport \"C\"\n\nfunc main() {}\n",
				"run a program":    "package main\n\nimport \"os/exec\"\n\nfunc main() { exec.Command(\"true\").Run() }\n",
				"network":          "package main\n\nimport \"net\"\n\nfunc main() { net.Dial(\"tcp\", \"x:1\") }\n",
				"embed a file":     "package main\n\nimport _ \"embed\"\n\n//go:embed importcfg\nvar s string\n\nfunc main() { print(s) }\n",
				"linkname":         "package main\n\nimport _ \"unsafe\"\n\n//go:linkname x os.runtime_args\nfunc x() []string\n\nfunc main() { println(x()[0]) }\n",
				"exit in init":     "package main\n\nimport \"os\"\n\nfunc init() { os.Exit(0) }\n\nfunc main() {}\n",
				"another package":  "package other\n\nfunc main() {}\n",
				"panic":            "package main\n\nfunc main() { panic(3) }\n",
				"print and panic":  "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(3); panic(1) }\n",
				"compiler comment": "//line /etc/passwd:1\npackage main\n\nfunc main() {}\n",
			}},
	} {
		t.Run(lang.name, func(t *testing.T) {
			if lang.tool == "" {
				if strings.Contains(os.Getenv("R1_REQUIRE"), "python") {
					t.Fatalf("no compiler for %s", lang.name)
				}
				t.Skipf("no compiler for %s: apt-get install g++, or Go under /usr/local/go", lang.name)
			}
			tests := Tests{Language: lang.name, Stdio: sum}
			rep, err := g.Grade(t.Context(), tests, lang.right)
			require.NoError(t, err)
			require.True(t, rep.All(), "%+v", rep)
			rep, err = g.Grade(t.Context(), tests, lang.wrong)
			require.NoError(t, err)
			require.Less(t, rep.Passed(), 2)
			for name, answer := range lang.hostile {
				rep, err := g.Grade(t.Context(), tests, answer)
				require.NoError(t, err, name)
				require.Zero(t, rep.Passed(), name)
				require.NotContains(t, rep.Tests[0].Why, "root:", name)
			}
		})
	}
}
