"""Writes pairs of answers whose truth is known by construction: equal ones by rewriting with sympy or in other notation, different
ones by a small change. Usage: pairs.py SEED SIZE > pairs.jsonl (testdata/generated.jsonl: 7 10; sympy 1.14.0)."""
import json
import random
import sys
from fractions import Fraction

import sympy as sp

random.seed(int(sys.argv[1]))
size = int(sys.argv[2])
x, y, n, a, b = sp.symbols("x y n a b")
WRAPS = ["\\boxed{%s}", "The answer is $%s$.", "<think>hm</think> So the final answer is $\\boxed{%s}$.", "$%s$",
         "<think>x</think>\n<answer>\\boxed{%s}</answer>", "We get\n\\[\\boxed{%s}\\]", "Therefore, the final answer is: $%s$."]


def wrap(s):
    return random.choice(WRAPS).replace("%s", s)


def emit(family, gold, answer, equal):
    print(json.dumps({"family": family, "gold": gold, "answer": answer, "equal": equal}))


def pairs(family, gold, equal=(), different=()):
    """One line for each right and wrong answer, each in a random frame."""
    for s in equal:
        emit(family, gold, wrap(s), True)
    for s in different:
        emit(family, gold, wrap(s), False)


def coefficient():
    return random.choice([k for k in range(-9, 10) if k])


def expression():
    c = coefficient
    return random.choice([
        lambda: c() * x**2 + c() * x + c(), lambda: (x + c()) * (x + c()), lambda: (x + c()) ** 2 * (y + c()), lambda: (c() * x + c()) / (x + c()),
        lambda: sp.sqrt(x**2 + abs(c())) * c() + c(), lambda: sp.exp(c() * x) * (x + c()), lambda: sp.sin(x) * c() + sp.cos(x) * c(),
        lambda: sp.log(x**2 + 1) * c() + c(), lambda: c() * x * y + c() * x + c() * y, lambda: (a + b) ** 3 + c(), lambda: c() * n * (n + 1) / 2 + c(),
        lambda: 2**n * c() + c(), lambda: c() / (x + c()) + c() / (y + c())])()


def expressions():
    e = expression()
    rewrite = random.choice([sp.expand, sp.factor, sp.together, sp.simplify, lambda e: e.rewrite(sp.exp), sp.expand_trig])
    wrong = random.choice([e + 1, e - x, -e, 2 * e, e * x, e + sp.Rational(1, 100)])
    pairs("expression", f"${sp.latex(e)}$", [sp.latex(rewrite(e))], [sp.latex(sp.expand(wrong))] if sp.simplify(wrong - e) != 0 else [])


def constants():
    c = lambda: random.randint(1, 12)
    e = random.choice([
        lambda: sp.sqrt(c()) + c(), lambda: c() * sp.sqrt(c()) / c(), lambda: (c() + sp.sqrt(c())) / (c() + sp.sqrt(c())), lambda: sp.pi * c() / c() + c(),
        lambda: sp.sqrt(c() + c() * sp.sqrt(2)), lambda: sp.cbrt(c()) + c(), lambda: sp.log(c() + 1) * c(), lambda: sp.exp(sp.Rational(c(), c())),
        lambda: sp.cos(sp.pi / c()) * c(), lambda: (c() + c() * sp.I) / (c() + sp.I), lambda: (c() - c() * sp.I) ** 3])()
    rewrite = random.choice([sp.radsimp, sp.expand, sp.simplify, lambda q: sp.expand(q, complex=True)])
    wrong = random.choice([e + 1, 2 * e, -e, e + sp.Rational(1, 1000)])
    bad = [sp.latex(wrong)] if abs(sp.N(wrong - e, 30)) > 1e-12 else []
    if e.is_rational is False and e.is_real:
        bad.append(str(sp.N(e, random.choice([4, 6, 10]))))
    pairs("constant", f"${sp.latex(e)}$", [sp.latex(rewrite(e))], bad)


def fractions():
    p, q, m = coefficient() * random.randint(1, 5), random.randint(2, 40), random.randint(2, 5)
    f, sign = Fraction(p, q), "-" if p < 0 else ""
    forms = [f"\\frac{{{p * m}}}{{{q * m}}}", f"{p}/{q}", f"\\dfrac{{{p}}}{{{q}}}", f"{sign}\\tfrac{{{abs(p)}}}{{{q}}}"]
    whole, rest = divmod(abs(f.numerator), f.denominator)
    if whole and rest:
        forms += [f"{sign}{whole}\\frac{{{rest}}}{{{f.denominator}}}", f"{sign}{whole} {rest}/{f.denominator}"]
    wrong = f + Fraction(random.choice([1, -1]), random.choice([1, q, 100]))
    pairs("fraction", f"${random.choice(forms)}$", [random.choice(forms)], [f"\\frac{{{wrong.numerator}}}{{{wrong.denominator}}}"])


def integers():
    v = random.randint(1000, 99999999)
    s = f"{v:,}"
    form = random.choice([s, s.replace(",", "{,}"), s.replace(",", "\\,"), s.replace(",", ",\\!"), f"{v}.0", s.replace(",", " ")])
    pairs("integer", str(v), [form], [f"{v * 10:,}"])
    pairs("integer", f"${s}$", [str(v)], [str(v + random.choice([1, -1, 1000, 10]))])


def atom():
    return random.choice([lambda: str(random.randint(-20, 20)), lambda: f"\\frac{{{random.choice([1, 2, 4, 5, 8])}}}{{{random.choice([3, 7, 11])}}}",
                          lambda: f"{random.randint(2, 9)}\\sqrt{{{random.choice([2, 3, 5])}}}", lambda: "\\pi"])()


def collections():
    items = list(dict.fromkeys(atom() for _ in range(random.randint(3, 5))))
    if len(items) < 2:
        return
    other, wrong, comma = random.sample(items, len(items)), items[:], ", ".join
    at = random.randrange(len(items))
    wrong[at] += "+1"
    braces, parens = lambda q: "\\{" + comma(q) + "\\}", lambda q: "(" + comma(q) + ")"
    if items[at] + "+1" in items or comma(sorted(wrong)) == comma(sorted(items)):
        return
    pairs("set", f"${braces(items)}$", [braces(other)], [braces(items[:-1]), braces(items + ["99"])])
    pairs("tuple", f"${parens(items)}$", [parens(items)], [parens(wrong)] + ([parens(other)] if other != items else []))
    pairs("list", f"${comma(items)}$", [comma(other), " \\text{ and } ".join(other)], [items[0]])
    pairs("list", f"${items[0]}$", [], [comma(items), " \\text{ or } ".join(items)])
    emit("list", comma(items), "The answers are " + " and ".join(f"${q}$" for q in other) + ".", True)


def intervals():
    lo = random.randint(-10, 9)
    hi = random.randint(lo + 1, 12)
    left, right = random.choice("[("), random.choice(")]")
    le, lt = "\\le", "<"
    interval = f"{left}{lo},{hi}{right}"
    chain = f"{lo} {le if left == '[' else lt} x {le if right == ']' else lt} {hi}"
    back = f"{hi} {chr(92) + 'ge' if right == ']' else '>'} x {chr(92) + 'ge' if left == '[' else '>'} {lo}"
    pairs("interval", f"${interval}$", [chain, back, f"\\left{left}{lo},{hi}\\right{right}", f"x \\in {interval}"],
          [f"{'(' if left == '[' else '['}{lo},{hi}{right}", f"{left}{lo},{hi + 1}{right}"])
    outside = f"(-\\infty,{lo}) \\cup [{hi},\\infty)"
    pairs("interval", f"${outside}$", [f"x < {lo} \\text{{ or }} x \\ge {hi}", f"[{hi},\\infty)\\cup(-\\infty,{lo})"], [interval])
    pairs("interval", f"$({lo},{hi})$", [f"|x-\\frac{{{lo + hi}}}{{2}}|<\\frac{{{hi - lo}}}{{2}}"], [])
    pairs("inequality", f"$x>{lo}$", [f"({lo},\\infty)", f"3x>{3 * lo}", f"-x<{-lo}"], [f"x\\geq {lo}", f"x<{lo}", str(lo)])


def matrices():
    rows, columns = random.randint(2, 3), random.randint(1, 3)
    m = [[random.randint(-9, 9) for _ in range(columns)] for _ in range(rows)]
    env = lambda name, m: f"\\begin{{{name}}}" + " \\\\ ".join(" & ".join(map(str, row)) for row in m) + f"\\end{{{name}}}"
    wrong = [row[:] for row in m]
    wrong[-1][-1] += 1
    turned = [list(q) for q in zip(*m)]
    pairs("matrix", f"${env('pmatrix', m)}$", [env("bmatrix", m)], [env("pmatrix", wrong)] + ([env("pmatrix", turned)] if turned != m and columns > 1 else []))


def equations():
    p, q, s = coefficient(), coefficient(), coefficient()
    m, tidy = random.choice([2, 3, -1, -2]), lambda t: t.replace("+-", "-").replace("--", "+")
    line = lambda p, q, s: tidy(f"{p}x+{q}y={s}")
    pairs("equation", f"${line(p, q, s)}$", [line(p * m, q * m, s * m), tidy(f"{p}x+{q}y-{s}=0")], [line(p, q, s + 1), line(p + 10, q, s)])
    v, value = random.choice("xyznkm"), atom()
    pairs("equation", f"${v}={value}$", [value], [f"{v}={value}+1"])
    pairs("equation", f"${value}$", [f"{v}={value}"], [])
    pairs("equation", tidy(f"$y={p}x+{q}$"), [tidy(f"{p}x+{q}")], [tidy(f"{p}x+{q}+1")])
    pairs("equation", f"$x={p}, y={q}$", [f"(x,y)=({p},{q})", f"y={q}, x={p}"], [f"x={q}, y={p}"] if p != q else [])
    root = f"\\sqrt{{{abs(q)}}}"
    pairs("plus-minus", f"$x = {p} \\pm {root}$", [f"x = {p}+{root}, x={p}-{root}"], [f"{p}+{root}"])
    pairs("plus-minus", f"${abs(q)}$", [], [f"\\pm {abs(q)}"])


def units():
    unit, full, small, factor = random.choice([("cm", "centimeters", "mm", 10), ("m", "meters", "cm", 100), ("kg", "kilograms", "g", 1000), ("h", "hours", "minutes", 60),
                                               ("km", "kilometers", "m", 1000), ("ft", "feet", "inches", 12), ("min", "minutes", "seconds", 60)])
    v = random.randint(2, 90)
    pairs("unit", f"${v}\\text{{ {unit}}}$", [f"{v} \\text{{ {full}}}", f"{v * factor}\\text{{ {small}}}"], [f"{v}\\text{{ {small}}}", f"{v + 1}\\,\\mathrm{{{unit}}}"])
    pairs("unit", f"${v}\\text{{ {unit}}}^2$", [f"{v} \\text{{ square {full}}}"], [f"{v} \\text{{ {unit}}}"])
    pairs("unit", f"${v}^\\circ$", [f"{v} \\text{{ degrees}}", f"\\frac{{{v}\\pi}}{{180}}"], [f"{v + 1}^\\circ"])
    pairs("percent", f"${v}\\%$", [f"\\frac{{{v}}}{{100}}", f"{v} \\text{{ percent}}"], [f"{v / 1000}", f"{v + 1}\\%"])


def words():
    c, d = random.sample("ABCDEF", 2)
    for s in [f"({c})", f"\\text{{({c})}}", f"\\textbf{{{c}}}", c, f"{c}. 17"]:
        emit("choice", c, f"So the answer is \\boxed{{{s}}}.", True)
    for s in [f"The answer is {c}.", f"**{c}**", f"Answer: ({c})", f"The correct option is {c}) because of that.", f"I think it's ({c})."]:
        emit("choice", f"\\text{{({c})}}", s, True)
    for s in [f"\\boxed{{{d}}}", f"\\boxed{{{c},{d}}}", f"The answer is {c} or {d}.", f"({d})", "A, B, C, D, E, F"]:
        emit("choice", c, s, False)
    c, d = random.sample(["even", "odd", "Monday", "blue", "parabola", "circle", "yes", "no", "Alice", "increasing", "neither", "red", "isosceles"], 2)
    pairs("text", f"\\text{{{c}}}", [f"\\text{{{c.upper()}}}"], [f"\\text{{{d}}}", f"\\text{{{c} or {d}}}"])
    emit("text", f"\\text{{{c}}}", f"So the answer is {c}.", True)
    emit("text", f"\\text{{{c}}}", f"The answer is {d}", False)


def rest():
    p, q, m = random.randint(1, 9), random.randint(1, 9), random.randint(2, 5)
    pairs("ratio", f"${p}:{q}$", [f"{p * m}:{q * m}"], [f"{p + 1}:{q}"])
    v, base = random.randint(20, 900), random.randint(2, 9)
    digits = ""
    while v:
        v, digit = divmod(v, base)
        digits = str(digit) + digits
    pairs("base", f"${digits}_{base}$", [f"{digits}_{{{base}}}"], [f"{digits}_{{{base + 1}}}"])
    pairs("combinatorics", f"$\\binom{{{p + 4}}}{{3}}$", [str(sp.binomial(p + 4, 3))], [str(sp.binomial(p + 4, 3) + 1)])
    pairs("combinatorics", f"${p}!$", [str(sp.factorial(p))], [str(sp.factorial(p) + 1)])
    pairs("logarithm", f"$\\log_{{{q + 1}}} {(q + 1) ** 3}$", ["3"], ["4"])
    pairs("decimal", f"$0.\\overline{{{q}}}$", [f"\\frac{{{q}}}{{9}}"], [f"0.{str(q) * 5}"])
    pairs("trigonometry", f"$\\sin {p * 15}^\\circ$", [f"\\sin\\frac{{{p}\\pi}}{{12}}"], [f"\\sin\\frac{{{p}\\pi}}{{12}} + 1"])


for _ in range(size):
    for f in [expressions, expressions, constants, constants, fractions, integers, collections, intervals, matrices, equations, units, words, rest]:
        f()
