# The trusted side of call-based problems: runs the tests, with stand-ins for every name of the answer. A stand-in sends
# its arguments to the job and gets plain data back, built anew here; anything else stays in the job, behind a handle that
# compares equal to nothing. Started as python3 -I -S -B -c; the first line of input is the specification.
import ast, builtins, json, os, sys


class NotPlain(Exception):
    """The answer returned something that is not plain data, and the test looked at it."""


class AnswerError(Exception):
    """The answer raised an exception that has no built-in class."""


def open_channel():
    inp, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    return inp, out


inp, out = open_channel()
calls = 0


def send(kind, *rest):
    out.write(json.dumps([kind, *rest]).encode("ascii") + b"\n")
    out.flush()


def encode(v):
    kind = type(v)
    if v is None or kind in (bool, str):
        return v
    if kind is int:
        return v if v.bit_length() <= 64 else ["i", hex(v)]
    if kind is float:
        return ["f", v.hex()]
    if kind is complex:
        return ["c", v.real.hex(), v.imag.hex()]
    if kind in (bytes, bytearray):
        return ["b", v.hex()]
    if kind in TAGS:
        return [TAGS[kind]] + [encode(x) for x in v]
    if kind is dict:
        return ["d"] + [[encode(k), encode(x)] for k, x in v.items()]
    if kind is Stub:
        return object.__getattribute__(v, "ref")
    if getattr(builtins, getattr(v, "__name__", ""), None) is v:
        return ["built-in", v.__name__]
    raise TypeError(f"a {kind.__name__} cannot be sent to the answer")


TAGS = {list: "l", tuple: "t", set: "s", frozenset: "z"}
KINDS = {tag: kind for kind, tag in TAGS.items()}


def decode(v):
    """Builds a value from JSON. Only the forms below exist; everything else is an error."""
    if v is None or type(v) in (bool, int, str):
        return v
    if type(v) is not list or not v or type(v[0]) is not str:
        raise NotPlain("malformed value")
    tag, rest = v[0], v[1:]
    if tag in KINDS:
        return KINDS[tag]([decode(x) for x in rest])
    if tag == "d":
        return {decode(k): decode(x) for k, x in rest}
    if tag == "o" and len(rest) == 1 and type(rest[0]) is int:
        return Stub(["o", rest[0]])
    if not all(type(x) is str for x in rest):
        raise NotPlain("malformed value")
    if tag == "i" and len(rest) == 1:
        return int(rest[0], 16)
    if tag == "f" and len(rest) == 1:
        return float.fromhex(rest[0])
    if tag == "c" and len(rest) == 2:
        return complex(float.fromhex(rest[0]), float.fromhex(rest[1]))
    if tag == "b" and len(rest) == 1:
        return bytes.fromhex(rest[0])
    raise NotPlain("malformed value")


def ask(op, ref, args=(), kw={}):
    global calls
    calls += 1
    send("ask", op, ref, [encode(a) for a in args], [[k, encode(v)] for k, v in kw.items()])
    line = inp.readline()
    try:
        reply = json.loads(line)
        good = type(reply) is list and len(reply) >= 2
        if good and reply[0] == "ok":
            return decode(reply[1])
    except (ValueError, TypeError, RecursionError, MemoryError, OverflowError) as e:
        raise NotPlain(f"malformed reply: {e!r:.200}") from None
    if good and reply[0] == "err":
        raise remote_exception(reply[1], reply[2] if len(reply) > 2 else "")
    raise NotPlain("malformed reply")


def remote_exception(names, message):
    """An exception of the first built-in class among names; never one that ends the interpreter."""
    message = message if type(message) is str else ""
    for name in names if type(names) is list else []:
        cls = getattr(builtins, name, None) if type(name) is str else None
        if isinstance(cls, type) and issubclass(cls, Exception) and cls is not AssertionError:
            try:
                return cls(message)
            except Exception:
                break
    return AnswerError(message)


def refuse(*_):
    raise NotPlain("the answer returned an object where the test needs plain data")


class Stub:
    """Stands for a name or an object of the answer."""

    __slots__ = ("ref",)

    def __init__(self, ref):
        object.__setattr__(self, "ref", ref)

    def __call__(self, *args, **kw):
        return ask("call", object.__getattribute__(self, "ref"), args, kw)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return ask("attr", object.__getattribute__(self, "ref"), (name,))

    def __setattr__(self, name, value):
        ask("setattr", object.__getattribute__(self, "ref"), (name, value))

    def __iter__(self):
        items = ask("iter", object.__getattribute__(self, "ref"))
        return iter(items) if type(items) is list else refuse()

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __hash__ = __len__ = __contains__ = refuse


# Modules a test may use without importing them, because its author's solution did.
MODULES = {"array", "bisect", "cmath", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq",
           "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "sys", "time"}


def free_names(trees):
    """Names that the tests read and nobody binds, and those of them that only appear as NAME.attribute."""
    read, bound, bare = set(), set(), set()
    for tree in trees:
        bases = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        for n in ast.walk(tree):
            if isinstance(n, ast.Name):
                (read if isinstance(n.ctx, ast.Load) else bound).add(n.id)
                if id(n) not in bases:
                    bare.add(n.id)
            elif isinstance(n, (ast.FunctionDef, ast.ClassDef)):
                bound.add(n.name)
            elif isinstance(n, ast.arg):
                bound.add(n.arg)
            elif isinstance(n, ast.alias):
                bound.add((n.asname or n.name).split(".")[0])
            elif isinstance(n, ast.ExceptHandler) and n.name:
                bound.add(n.name)
    return read - bound, bare


def entry_of(trees):
    """The function under test where every name is a built-in's: the outermost call on the left of an assert."""
    for tree in trees:
        for n in ast.walk(tree):
            if isinstance(n, ast.Assert):
                left = n.test.left if isinstance(n.test, ast.Compare) else n.test
                if isinstance(left, ast.Call) and isinstance(left.func, ast.Name):
                    return left.func.id
    return ""


def namespace(spec):
    """The tests' globals: the data set's own code, then stand-ins for the answer's names."""
    ns = {"__name__": "tests"}
    for text in (spec["prelude"], spec["prelude"] + "\n    pass\n"):
        try:
            exec(compile(text, "prelude", "exec"), ns)
            break
        except SyntaxError:
            if not text.endswith("pass\n"):
                continue
            raise
    trees = [ast.parse(t) for t in [spec["setup"], *spec["tests"]]]
    names, bare = free_names(trees)
    for name in sorted(names - set(ns) - set(dir(builtins))):
        ns[name] = __import__(name) if name in MODULES and name not in bare else Stub(["g", name])
    entry = spec["entry"]
    if not entry and not any(type(v) is Stub for v in ns.values()):
        entry = entry_of(trees)
    if entry:
        ns[entry] = Stub(["g", entry])
    exec(compile(trees[0], "setup", "exec"), ns)
    return ns, trees[1:]


def same(got, want):
    """Equality of JSON's values: a tuple is a list, numbers are equal by value, and true is not 1."""
    if isinstance(got, (list, tuple)) and isinstance(want, list):
        return len(got) == len(want) and all(map(same, got, want))
    if type(got) is dict and type(want) is dict:
        got = {str(k): v for k, v in got.items()}
        return got.keys() == want.keys() and all(same(got[k], want[k]) for k in want)
    if type(got) is float and type(want) in (int, float) or type(want) is float and type(got) is int:
        return got == want or abs(got - want) <= 1e-9 * max(1, abs(want))
    return type(got) is type(want) and got == want


def cases(spec):
    """The calls of a problem with plain arguments and results, as functions that return whether they passed."""
    for c in spec["calls"]:
        yield lambda c=c: same(Stub(["g", c["fn"]])(*c["args"]), c["want"])


def asserts(spec):
    ns, trees = namespace(spec)
    for tree in trees:
        yield lambda tree=tree: exec(compile(tree, "test", "exec"), ns) is None


def main():
    global calls
    spec = json.loads(inp.readline())
    sys.setrecursionlimit(5000)
    send("begin", -1)
    try:
        units = list(asserts(spec)) + list(cases(spec))
    except Exception as e:
        if not calls:
            send("broken", f"{e!r:.300}")
            return
        for i in range(len(spec["tests"])):
            send("test", i, False, f"in the set-up: {e!r:.300}")
        send("done", len(spec["tests"]))
        return
    for i, unit in enumerate(units):
        calls = 0
        send("begin", i)
        try:
            ok, why = unit(), "wrong answer"
        except BaseException as e:
            ok, why = False, f"{e!r:.300}"
        if not calls:
            send("broken", f"test {i} never called the answer: {why}")
            return
        send("test", i, bool(ok), "" if ok else why)
    send("done", len(units))


main()
