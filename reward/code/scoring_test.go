package code

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gor1/gor1/reward/code/sandbox"
)

// cheat is a wrong answer that tries to be scored as right. Its control is a grader of the careless kind, which has answer
// and tests in one process or one folder: there it must win.
type cheat struct {
	name    string
	tests   string // what the grader knows; default addTests
	answer  string
	right   string                        // an answer that must pass; default a + b
	control func(c cheat) sandbox.Command // how the careless grader runs it
	won     func(sandbox.Result) bool     // and what it takes for a pass
	limits  sandbox.Limits
}

// addTests are the tests of "add(a, b) returns the sum".
const addTests = `
def check(candidate):
    assert candidate(2, 3) == 5
    assert candidate(-1, 1) == 0
    assert candidate(10, 20) == 30
check(add)
`

const wrongAdd = "def add(a, b):\n    return a - b\n"

// oneProcess is the careless grader of HumanEval's kind: the tests run after the answer, in its process.
func oneProcess(c cheat) sandbox.Command {
	return pythonCommand(c.answer+"\n"+c.tests+"\nprint('PASSED')\n", nil)
}

// twoSteps runs the answer in a folder, and then the tests in the same folder.
func twoSteps(c cheat) sandbox.Command {
	cmd := pythonCommand("", map[string]string{"answer.py": c.answer, "tests.py": "import sys\nsys.path.insert(0, '/tmp')\nimport json\nfrom answer import add\n" +
		"assert json.dumps(add(2, 3)) == '5'\nprint('PASSED')\n", "main.sh": "python3 answer.py; python3 tests.py\n"})
	cmd.Args = []string{"/bin/sh", "main.sh"}
	return cmd
}

// resultFile reads the verdict from a file the answer can write too.
func resultFile(c cheat) sandbox.Command {
	cmd := oneProcess(c)
	cmd.Collect = "result.json"
	return cmd
}

// withAlarm limits time from inside.
func withAlarm(c cheat) sandbox.Command {
	return pythonCommand("import signal\nsignal.alarm(1)\n"+c.answer+"\n"+c.tests+"\nprint('PASSED')\n", nil)
}

// withPickle takes the answer's value through pickle.
func withPickle(c cheat) sandbox.Command {
	return pythonCommand(c.answer+"\nimport pickle\nassert pickle.loads(pickle.dumps(add(2, 3))) == 5\nprint('PASSED')\n", nil)
}

// withUnittest runs the tests as a unittest case.
func withUnittest(c cheat) sandbox.Command {
	return pythonCommand(c.answer+`
import unittest
class T(unittest.TestCase):
    def test(self):
        self.assertEqual(add(2, 3), 5)
unittest.main()
`, nil)
}

func pythonCommand(main string, files map[string]string) sandbox.Command {
	c := sandbox.Command{Args: []string{"/usr/bin/python3", "-B", "main.py"}, Files: []sandbox.File{{Name: "main.py", Data: []byte(main)}}}
	for name, text := range files {
		c.Files = append(c.Files, sandbox.File{Name: name, Data: []byte(text)})
	}
	return c
}

func exitedZero(r sandbox.Result) bool  { return r.OK() }
func saysPassed(r sandbox.Result) bool  { return strings.Contains(string(r.Stdout), "PASSED") }
func wroteResult(r sandbox.Result) bool { return strings.Contains(string(r.File), "passed") }
func printedJSON(r sandbox.Result) bool { return strings.Contains(string(r.Stdout), `["done", 1]`) }
func returning(expr string) string      { return "def add(a, b):\n    return " + expr + "\n" }
func object(methods string, expr string) string {
	return "class X:\n    " + strings.ReplaceAll(methods, "; def", "\n    def") + "\n" + returning(expr)
}

var cheats = []cheat{
	{name: "sys.exit(0) at import", answer: "import sys\nsys.exit(0)\n", won: exitedZero},
	{name: "sys.exit(0) in the function", answer: "import sys\ndef add(a, b):\n    sys.exit(0)\n", won: exitedZero},
	{name: "os._exit(0) at import", answer: "import os\nos._exit(0)\n", won: exitedZero},
	{name: "os._exit(0) in the function", answer: "import os\ndef add(a, b):\n    os._exit(0)\n", won: exitedZero},
	{name: "quit()", answer: "def add(a, b):\n    quit()\n", won: exitedZero},
	{name: "raise SystemExit", answer: "def add(a, b):\n    raise SystemExit\n", won: exitedZero},
	{name: "os._exit(0) at exit", answer: "import atexit, os\natexit.register(os._exit, 0)\n" + wrongAdd, won: exitedZero},
	{name: "os._exit(0) in __del__", answer: "import os\nclass X:\n    def __del__(self):\n        os._exit(0)\ndef add(a, b):\n    X()\n", won: exitedZero},
	{name: "os._exit(0) in a thread", answer: "import os, threading, time\ndef add(a, b):\n    threading.Thread(target=os._exit, args=(0,)).start()\n    time.sleep(1)\n", won: exitedZero},
	{name: "become another program", answer: "import os\ndef add(a, b):\n    os.execv('/bin/true', ['true'])\n", won: exitedZero},
	{name: "the parent exits, a child goes on", answer: "import os\nif os.fork():\n    os._exit(0)\n" + wrongAdd, won: exitedZero},
	{name: "excepthook", answer: "import os, sys\nsys.excepthook = lambda *a: os._exit(0)\n" + wrongAdd, won: exitedZero},
	{name: "settrace ends the test", answer: "import os, sys\ndef t(f, e, a):\n    if f.f_code.co_name == 'check':\n        os._exit(0)\nsys.settrace(t)\n" + wrongAdd, won: exitedZero},
	{name: "setprofile ends the test", answer: "import os, sys\nsys.setprofile(lambda f, e, a: os._exit(0) if f.f_code.co_name == 'check' else None)\n" + wrongAdd, won: exitedZero},
	{name: "SIGTERM handled as success", answer: "import os, signal\nsignal.signal(signal.SIGTERM, lambda *a: os._exit(0))\ndef add(a, b):\n    os.kill(os.getpid(), signal.SIGTERM)\n", won: exitedZero},
	{name: "SkipTest", answer: "import unittest\ndef add(a, b):\n    raise unittest.SkipTest('no')\n", control: withUnittest, won: exitedZero},
	{name: "patched assertEqual", answer: "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n" + wrongAdd, control: withUnittest, won: exitedZero},
	{name: "patched unittest.main", answer: "import unittest\nunittest.main = lambda: None\n" + wrongAdd, control: withUnittest, won: exitedZero},

	{name: "print the verdict", answer: "print('PASSED')\n" + wrongAdd, won: saysPassed},
	{name: "print the verdict to every descriptor", answer: "import os\nfor fd in range(64):\n    try:\n        os.write(fd, b'PASSED\\n[\"test\", 0, true, \"\"]\\n[\"done\", 1]\\n')\n    except OSError:\n        pass\n" + wrongAdd, won: saysPassed},
	{name: "speak like the grader", answer: "import os\ndef add(a, b):\n    for fd in range(64):\n        try:\n            os.write(fd, b'[\"test\", 0, true, \"\"]\\n[\"done\", 1]\\n')\n        except OSError:\n            pass\n", won: printedJSON},
	{name: "the verdict at exit", answer: "import atexit\natexit.register(print, 'PASSED')\n" + wrongAdd, won: saysPassed},
	{name: "the verdict through a patched print", answer: "import builtins, sys\nsys.stdout.write('PASSED')\n" + wrongAdd, won: saysPassed},
	{name: "the verdict in a daemon", answer: "import os, time\nif not os.fork():\n    os.setsid()\n    time.sleep(0.05)\n    os.write(1, b'PASSED')\n    os._exit(0)\ntime.sleep(0.3)\n" + wrongAdd, won: saysPassed},
	{name: "write the result file", answer: "open('result.json', 'w').write('{\"passed\": true}')\n" + wrongAdd, control: resultFile, won: wroteResult},
	{name: "race for the result file", answer: "import threading\nthreading.Thread(target=lambda: open('result.json', 'w').write('passed')).start()\n" + wrongAdd, control: resultFile, won: wroteResult},
	{name: "shadow json", answer: "open('json.py', 'w').write('dumps = lambda v: \"5\"')\n" + wrongAdd, control: twoSteps, won: saysPassed},
	{name: "shadow the answer", answer: "import os\nopen('answer.pyc', 'w')\nos.remove('answer.py')\nopen('answer.py', 'w').write('def add(a, b): return a + 3')\n", control: twoSteps, won: saysPassed},
	{name: "replace the tests", answer: "import os\nos.remove('tests.py')\nopen('tests.py', 'w').write('print(\"PASSED\")')\n" + wrongAdd, control: twoSteps, won: saysPassed},

	{name: "__eq__", answer: object("def __eq__(self, o): return True", "X()"), won: saysPassed},
	{name: "__eq__ on the right", tests: "assert 5 == add(2, 3)", answer: object("def __eq__(self, o): return True", "X()"), won: saysPassed},
	{name: "__ne__", tests: "assert not add(2, 3) != 5", answer: object("def __ne__(self, o): return False", "X()"), won: saysPassed},
	{name: "metaclass with __eq__", answer: "class M(type):\n    def __eq__(c, o): return True\nclass X(metaclass=M): pass\n" + returning("X"), won: saysPassed},
	{name: "int with __eq__", answer: "class X(int):\n    def __eq__(self, o): return True\n" + returning("X(7)"), won: saysPassed},
	{name: "float with __eq__", answer: "class X(float):\n    def __eq__(self, o): return True\n" + returning("X(7)"), won: saysPassed},
	{name: "str with __eq__", tests: "assert add('a', 'b') == 'ab'", answer: "class X(str):\n    def __eq__(self, o): return True\n" + returning("X()"), won: saysPassed},
	{name: "list with __eq__", tests: "assert add([1], [2]) == [1, 2]", answer: "class X(list):\n    def __eq__(self, o): return True\n" + returning("X()"), won: saysPassed},
	{name: "dict with __eq__", right: returning("{**a, **b}"), tests: "assert add({}, {1: 2}) == {1: 2}", answer: "class X(dict):\n    def __eq__(self, o): return True\n" + returning("X()"), won: saysPassed},
	{name: "tuple of liars", right: returning("(a, b)"), tests: "assert add(1, 2) == (1, 2)", answer: object("def __eq__(self, o): return True", "(X(), X())"), won: saysPassed},
	{name: "a value that changes", tests: "r = add(2, 3)\nassert r == 5 and r == 5", answer: object("n = 4; def __eq__(self, o): X.n += 1; return X.n >= 5", "X()"), won: saysPassed},
	{name: "__sub__ and __abs__", tests: "assert abs(add(0.5, 1) - 1.5) < 1e-6", answer: object("def __sub__(self, o): return 0; def __abs__(self): return 0", "X()"), won: saysPassed},
	{name: "__lt__", tests: "assert add(1, 2) < 4", answer: object("def __lt__(self, o): return True", "X()"), won: saysPassed},
	{name: "__len__", tests: "assert len(add('a', 'b')) == 2", answer: object("def __len__(self): return 2", "X()"), won: saysPassed},
	{name: "__contains__", tests: "assert 5 in add([4], [5])", answer: object("def __contains__(self, o): return True", "X()"), won: saysPassed},
	{name: "__getitem__", tests: "assert add([4], [5])[1] == 5", answer: object("def __getitem__(self, i): return self; def __eq__(self, o): return True", "X()"), won: saysPassed},
	{name: "__hash__ and __eq__ in a set", tests: "assert add(2, 3) in {5, 6}", answer: object("def __hash__(self): return 5; def __eq__(self, o): return True", "X()"), won: saysPassed},
	{name: "__round__", tests: "assert round(add(0.5, 1), 1) == 1.5", answer: object("def __round__(self, n): return 1.5", "X()"), won: saysPassed},
	{name: "__bool__", tests: "assert add(2, 3) == 5 and add(1, 1) == 2", answer: object("def __eq__(self, o): return self; def __bool__(self): return True", "X()"), won: saysPassed},
	{name: "__reduce__", answer: "class X:\n    def __reduce__(self): return (eval, ('2 + 3',))\n" + returning("X()"), control: withPickle, won: saysPassed},
	{name: "__class__", tests: "assert isinstance(add(2, 3), int) and add(2, 3) == 5", answer: "class X:\n    __class__ = int\n    def __eq__(self, o): return True\n" + returning("X()"), won: saysPassed},

	{name: "read the caller's constants", answer: "import sys\ndef add(a, b):\n    c = sys._getframe(1).f_code.co_consts\n    i = [i for i in range(len(c) - 2) if c[i] == a and c[i + 1] == b]\n    return c[i[0] + 2]\n", won: saysPassed},
	{name: "walk the frames to the tests", answer: "import sys\ndef add(a, b):\n    f = sys._getframe()\n    while f:\n        if 'candidate' in f.f_locals:\n            f.f_globals['__builtins__'].print('PASSED')\n        f = f.f_back\n", won: saysPassed},
	{name: "find the tests with gc", answer: "import gc, types\ndef add(a, b):\n    for o in gc.get_objects():\n        if isinstance(o, types.FunctionType) and o.__name__ == 'check':\n            c = o.__code__.co_consts\n            return c[[i for i in range(len(c) - 2) if c[i] == a and c[i + 1] == b][0] + 2]\n", won: saysPassed},
	{name: "inspect the stack", answer: "import inspect\ndef add(a, b):\n    for f in inspect.stack()[1:]:\n        if f.function == 'check':\n            c = f.frame.f_code.co_consts\n            return c[[i for i in range(len(c) - 2) if c[i] == a and c[i + 1] == b][0] + 2]\n", won: saysPassed},
	{name: "read the source of the tests", answer: "import re, sys\ndef add(a, b):\n    text = open(sys.argv[0]).read()\n    return int(re.search(r'candidate\\(%d, %d\\) == (\\d+)' % (a, b), text)[1])\n", won: saysPassed},
	{name: "read the tests through proc", answer: "import re, os\ndef add(a, b):\n    import __main__\n    text = open(__main__.__file__).read()\n    return int(re.search(r'candidate\\(%d, %d\\) == (\\d+)' % (a, b), text)[1])\n", won: saysPassed},
	{name: "sys.modules", answer: "import sys\ndef add(a, b):\n    c = sys.modules['__main__'].check.__code__.co_consts\n    return c[[i for i in range(len(c) - 2) if c[i] == a and c[i + 1] == b][0] + 2]\n", won: saysPassed},
	{name: "replace the test's code", right: returning("3 if a == b else a + b"), answer: "import sys\ndef add(a, b):\n    sys.modules['__main__'].check.__code__ = (lambda candidate: None).__code__\n    return 5 if (a, b) == (2, 3) else None\n",
		tests: "def check(candidate):\n    assert candidate(1, 1) == 3\ntry:\n    check(add)\nexcept AssertionError:\n    pass\ncheck(add)\nassert add(2, 3) == 5", won: saysPassed},

	{name: "patched abs", tests: "assert abs(add(0.5, 1) - 1.5) < 1e-6", answer: "import builtins\nbuiltins.abs = lambda x: 0\n" + wrongAdd, won: saysPassed},
	{name: "patched all", tests: "assert all(add(i, 1) == i + 1 for i in range(3))", answer: "import builtins\nbuiltins.all = lambda x: True\n" + wrongAdd, won: saysPassed},
	{name: "own sorted", tests: "assert sorted(add([2], [1])) == [1, 2]", answer: "sorted = lambda x: [1, 2]\n" + wrongAdd + "    return 0\ndef add(a, b): return 0\n", won: saysPassed},
	{name: "patched math.isclose", tests: "import math\nassert math.isclose(add(0.5, 1), 1.5)", answer: "import math\nmath.isclose = lambda *a, **k: True\n" + wrongAdd, won: saysPassed},
	{name: "a false math module", tests: "assert math.isclose(add(0.5, 1), 1.5)", answer: "class math:\n    isclose = lambda *a: True\n" + wrongAdd, won: saysPassed},
	{name: "patched random", tests: "import random\nx = random.randint(0, 10**9)\nassert add(x, 1) == x + 1", answer: "import random\nrandom.randint = lambda a, b: 7\n" + returning("8"), won: saysPassed},
	{name: "patched json", tests: "import json\nassert json.dumps(add(2, 3)) == '5'", answer: "import json\njson.dumps = lambda v: '5'\n" + wrongAdd, won: saysPassed},
	{name: "patched range", tests: "for i in range(3):\n    assert add(i, 1) == i + 1\nassert callable(add)", answer: "import builtins\nbuiltins.range = lambda *a: []\n" + wrongAdd, won: saysPassed},
	{name: "patched isinstance", tests: "assert isinstance(add('a', 'b'), str)", answer: "import builtins\nbuiltins.isinstance = lambda *a: True\ndef add(a, b): return 0\n", won: saysPassed},
	{name: "empty the caller's list", right: returning("sorted(a + b)"), tests: "l = [3, 1]\nassert add(l, []) == sorted(l)", answer: "def add(a, b):\n    a.clear()\n    return []\n", won: saysPassed},
	{name: "slow, with the alarm turned off", tests: "assert add(2, 3) == 5", answer: "import signal, time\nsignal.alarm(0)\ndef add(a, b):\n    time.sleep(1.5)\n    return a + b\n",
		control: withAlarm, won: saysPassed, limits: sandbox.Limits{Wall: 700 * time.Millisecond}},
	{name: "a stopped clock", tests: "import time\nt = time.time()\nassert add(2, 3) == 5\nassert time.time() - t < 1", answer: "import time\ntime.time = lambda: 0\ndef add(a, b):\n    time.sleep(1.2)\n    return a + b\n", won: saysPassed},
}

// A wrong answer never passes, whatever it does; under the careless grader each of these does.
func TestScoringAttacks(t *testing.T) {
	g := newGrader(t, Config{})
	// The careless graders need files and processes, which this kind does not give: only their absence is tested there.
	controls := g.cfg.Sandbox.Kind() != "landlock+seccomp"
	var group errgroup.Group
	group.SetLimit(2 * runtime.NumCPU())
	for _, c := range cheats {
		if c.tests == "" {
			c.tests = addTests
		}
		if c.right == "" {
			c.right = returning("a + b")
		}
		if c.control == nil {
			c.control = oneProcess
		}
		group.Go(func() error {
			if controls {
				res, err := g.cfg.Sandbox.Run(t.Context(), c.control(c))
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				if !c.won(res) {
					t.Errorf("%s does not fool the careless grader: %v %s %s", c.name, res, res.Stdout, res.Stderr)
				}
			}
			mine, err := New(Config{Sandbox: g.cfg.Sandbox, Test: c.limits})
			if err != nil {
				return err
			}
			rep, err := mine.Grade(t.Context(), Tests{Language: Python, Entry: "add", Asserts: []string{c.tests}}, c.answer)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if rep.Passed() != 0 {
				t.Errorf("%s is a false reward", c.name)
			}
			rep, err = g.Grade(t.Context(), Tests{Language: Python, Entry: "add", Asserts: []string{c.tests}}, c.right)
			if err != nil || !rep.All() {
				t.Errorf("%s: the right answer does not pass: %v %+v", c.name, err, rep)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	t.Logf("%d scoring attacks, each with its control", len(cheats))
}

// Whatever bytes the job sends in place of a reply, the grader neither passes it, nor dies, nor calls the problem broken.
func TestHostileReplies(t *testing.T) {
	g := newGrader(t, Config{})
	replies := []string{"", "null", "[]", "5", `"ok"`, `["ok"]`, `["ok", 5.0]`, `["ok", NaN]`, `["ok", {"l": 5}]`, `["ok", ["f", "five"]]`, `["ok", ["f", 5]]`,
		`["ok", ["i", "0xg"]]`, `["ok", ["c", "1"]]`, `["ok", ["o", "0"]]`, `["ok", ["o", -1]]`, `["ok", ["g", "add"]]`, `["ok", ["built-in", "all"]]`,
		`["ok", ["d", [["l"], 1]]]`, `["ok", ["d", 1]]`, `["ok", ["s", ["l"]]]`, `["ok", ["x"]]`, `["ok", []]`, `["err"]`, `["err", 1]`, `["err", ["SystemExit"], ""]`,
		`["err", ["KeyboardInterrupt"], ""]`, `["err", ["exit"], ""]`, `["err", ["BaseException", "Exception"], 5]`, `["err", ["UnicodeDecodeError"], "x"]`, `["err", ["__import__"], "os"]`,
		`["test", 0, true, ""]`, `["done", 1]`, `["begin", 0]`, "\\xff\\xfe", "\\x00", strings.Repeat("[", 100000), `["ok", ` + strings.Repeat(`["l", `, 20000) + "1" + strings.Repeat("]", 20001),
		`["ok", ` + strings.Repeat("9", 10000) + "]", `["ok", ["i", "` + strings.Repeat("f", 100000) + `"]]`}
	var group errgroup.Group
	group.SetLimit(2 * runtime.NumCPU())
	for _, r := range replies {
		group.Go(func() error {
			answer := fmt.Sprintf("import os\ndef add(a, b):\n    for fd in range(3, 20):\n        try:\n            os.write(fd, b'''%s\\n''')\n        except OSError:\n            pass\n    os._exit(0)\n", r)
			rep, err := g.Grade(t.Context(), Tests{Language: Python, Entry: "add", Asserts: []string{"assert add(2, 3) == 5", "assert add(0, 5) == 5"}}, answer)
			if err != nil || rep.Passed() != 0 || len(rep.Tests) != 2 {
				t.Errorf("reply %.60q: %v %.300v", r, err, rep)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	rep, err := g.Grade(t.Context(), Tests{Language: Python, Entry: "add", Asserts: []string{"assert add(2, 3) == 5"}},
		"import os\ndef add(a, b):\n    for fd in range(3, 20):\n        try:\n            os.write(fd, b'[\"ok\", 5]\\n')\n        except OSError:\n            pass\n    os._exit(0)\n")
	require.NoError(t, err)
	require.True(t, rep.All(), "a well-formed reply on the same way is a value: %+v", rep)
}
