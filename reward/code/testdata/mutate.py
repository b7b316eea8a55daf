# Changes one operator, constant or branch of a program at a time, and asks its tests, in the same process, whether they
# tell. Reads a JSON object {"source", "prelude", "entry", "tests", "count"}, where a prelude's own functions are left alone;
# writes a list of {"source", "verdict"}, where verdict is "passes", "fails", "slow", or "broken" (does not load).
import ast, copy, json, os, random, signal, sys, warnings

warnings.simplefilter("ignore")
OPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
       ast.Pow: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
       ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
       ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitXor, ast.BitXor: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift}


def changes(tree):
    """Functions that each change one place of a copy of the tree, found by its number in the walk."""
    out, answer = [], set()
    for n in tree.body:
        if not spec["prelude"] or isinstance(n, ast.FunctionDef) and n.name == spec["entry"]:
            answer.update(map(id, ast.walk(n)))
    for i, n in enumerate(ast.walk(tree)):
        if id(n) not in answer:
            continue
        if isinstance(n, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(n.op) in OPS:
            out.append((i, lambda m: setattr(m, "op", OPS[type(m.op)]())))
        elif isinstance(n, ast.Compare) and type(n.ops[0]) in OPS:
            out.append((i, lambda m: m.ops.__setitem__(0, OPS[type(m.ops[0])]())))
        elif isinstance(n, ast.Constant) and type(n.value) in (int, float):
            out.append((i, lambda m: setattr(m, "value", m.value + 1)))
        elif isinstance(n, ast.Constant) and type(n.value) is bool:
            out.append((i, lambda m: setattr(m, "value", not m.value)))
        elif isinstance(n, (ast.If, ast.While, ast.IfExp)):
            out.append((i, lambda m: setattr(m, "test", ast.UnaryOp(ast.Not(), m.test))))
    return out


def verdict(source, prelude, tests):
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        return {0: "passes", 1: "fails", 2: "broken"}.get(os.waitstatus_to_exitcode(status), "slow")
    signal.setitimer(signal.ITIMER_REAL, 3)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    names = {"__name__": "answer"}
    try:
        exec(prelude + "\n    pass\n" if prelude else "", names)
        exec(compile(source, "answer", "exec"), names)
    except BaseException:
        os._exit(2)
    try:
        for t in tests:
            exec(t, names)
    except BaseException:
        os._exit(1)
    os._exit(0)


spec = json.load(sys.stdin)
tree = ast.parse(spec["source"])
places = changes(tree)
random.Random(1).shuffle(places)
out = [{"source": spec["source"], "verdict": verdict(spec["source"], spec["prelude"], spec["tests"])}]
for i, change in places[: spec["count"]]:
    mutant = copy.deepcopy(tree)
    change(list(ast.walk(mutant))[i])
    source = ast.unparse(ast.fix_missing_locations(mutant)) + "\n"
    out.append({"source": source, "verdict": verdict(source, spec["prelude"], spec["tests"])})
json.dump(out, sys.stdout)
