// Package mathx decides whether an answer to a mathematical problem is right: whether the text a model wrote means the same as
// the reference. It extracts the final answer, parses LaTeX and plain notation, and compares by mathematics: exact rationals,
// else 256-bit arithmetic with error bounds, expressions in variables at pseudo-random points, sets, intervals, tuples,
// matrices, equations, inequalities and units by their structure.
//
// There is no clock. Work is bounded by counted steps, nesting and length, so a verdict is the same on every machine and at every
// load, and every function is safe from any number of goroutines. docs/verify.md says what counts as equal.
package mathx

import (
	"errors"
	"fmt"
	"strings"
)

// Verdict is what Verify found.
type Verdict uint8

// A reference that cannot be read says nothing about the answer: such a sample must be left out, not scored 0.
const (
	Different         Verdict = iota // both were read, and they are not the same
	Equal                            // the same answer
	GoldUnparseable                  // the reference cannot be read
	AnswerUnparseable                // there is no answer, or it cannot be read
)

// String is the verdict as r1 verify prints it.
func (v Verdict) String() string {
	return [...]string{"different", "equal", "gold-unparseable", "answer-unparseable"}[v]
}

// Percent says what 50% is equal to.
type Percent uint8

const (
	PercentEither      Percent = iota // both 0.5 and 50
	PercentIsHundredth                // 0.5
	PercentIsLabel                    // 50: the sign is dropped, as by the graders of MATH and NeMo-Skills
)

// Policy settles what graders disagree about. The zero Policy is the default.
type Policy struct {
	// Percent says what 50% is equal to. Default: both 0.5 and 50, since problems ask for either.
	Percent Percent
	// Tolerance is the relative difference up to which numbers are the same. Default 0: 0.333 is not 1/3. SkyThought's grader
	// and NeMo-Skills use 1e-4, math-verify rounds to 6 digits.
	Tolerance float64
	// Ordered makes 1, 2 and 2, 1 different, as the grader of MATH does. Default: a bare list has no order.
	Ordered bool
	// RequireUnits makes 5 cm and 5 different. Default: a unit that only one side has is left out of account. Two units that are
	// both there are always compared (5 cm is 50 mm and not 5 m).
	RequireUnits bool
	// RequireEvaluated refuses answers that leave work to the reader: 1/4 + 1/7 for 11/28, 2^10 for 1024. Default: arithmetic
	// may stand; sums, products and integrals with limits are refused in an answer in any case.
	RequireEvaluated bool
	// MaxBoxes is how many different boxes an answer may hold before it counts as hedging. Default (0): 4.
	MaxBoxes int
	// MaxSteps bounds the work on one pair, in steps of about 30 ns. Default (0): 100,000.
	MaxSteps int
	// Seed moves the points at which expressions in variables are compared.
	Seed uint64
}

func (p Policy) maxSteps() int {
	if p.MaxSteps > 0 {
		return p.MaxSteps
	}
	return 100_000
}

// maxLength bounds the answer, in bytes; what a completion holds around it does not count.
const maxLength = 1 << 14

// Result is a verdict with what it was made from.
type Result struct {
	Verdict Verdict
	Gold    string // the reference in canonical form; empty where unparseable
	Answer  string // the answer in canonical form; empty where unparseable
	Reason  string // one sentence
	Steps   int    // the work done, at most Policy.MaxSteps
}

// Expr is a parsed answer.
type Expr struct {
	src    string
	root   *node
	commas *node // the other reading of 1,234: a list
}

// String is the canonical form: plain notation, rational arithmetic carried out, quantities in base units. Equal forms are equal
// answers; equal answers may differ in form, which is for Same to find out.
func (e Expr) String() string { return e.root.folded().String() }

// Parse reads one answer as it stands in a box: LaTeX or plain notation, without sentences around it.
func Parse(s string) (Expr, error) {
	if len(s) > maxLength {
		return Expr{}, fmt.Errorf("mathx: the answer has %d bytes, more than %d", len(s), maxLength)
	}
	n, commas, err := parse(s, false)
	if err != nil {
		return Expr{}, fmt.Errorf("mathx: %.60q %w", s, err)
	}
	e := Expr{src: s, root: n}
	if commas {
		if e.commas, _, err = parse(s, true); err != nil {
			e.commas = nil
		}
	}
	return e, nil
}

// Same reports that two answers mean the same under the policy. reason says why where it could not be found out.
func Same(gold, answer Expr, p Policy) (same bool, reason string) {
	c := comparer{policy: p, m: machine{left: p.maxSteps()}}
	same = c.same(gold, answer)
	return same, c.reason()
}

func (c *comparer) reason() string {
	if c.err == nil {
		return ""
	}
	return c.err.Error()
}

func (c *comparer) same(g, a Expr) bool {
	if c.equal(g.root, a.root) {
		return true
	}
	if a.commas != nil && g.commas == nil && g.root.kind != kNum && c.equal(g.root, a.commas) {
		return true
	}
	return g.commas != nil && a.commas == nil && a.root.kind != kNum && c.equal(g.commas, a.root)
}

// Verify compares the reference gold with the answer in a completion. gold may be a bare answer, boxed, or a whole solution in
// the manner of GSM8K or MATH.
func Verify(gold, completion string, p Policy) Result {
	c := comparer{policy: p, m: machine{left: p.maxSteps()}}
	r := c.verify(gold, completion)
	r.Steps = p.maxSteps() - c.m.left
	return r
}

func (c *comparer) verify(gold, completion string) Result {
	g, err := c.readGold(gold)
	if letter, ok := choiceOf(gold, g); ok {
		return c.choice(letter, completion)
	}
	if err != nil {
		return Result{Verdict: GoldUnparseable, Reason: err.Error()}
	}
	r := Result{Verdict: AnswerUnparseable, Gold: g.String()}
	a, err := c.readAnswer(completion, g)
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	r.Answer = a.String()
	if err := c.admissible(a); err != nil {
		r.Reason = err.Error()
		return r
	}
	switch {
	case c.same(g, a):
		r.Verdict, r.Reason = Equal, "the same"
	case c.err != nil:
		r.Verdict, r.Reason = Different, "not shown to be the same: "+c.err.Error()
	default:
		r.Verdict, r.Reason = Different, "not the same"
	}
	return r
}

// readGold extracts and parses the reference and checks that it has a value.
func (c *comparer) readGold(gold string) (Expr, error) {
	solution := strings.Contains(gold, "####") || len(boxes(gold)) > 0
	e, err := Parse(gold)
	if solution || err != nil || e.root.any(func(n *node) bool { return n.kind == kText }) {
		told := solution || announced(gold) >= 0
		candidates, err2 := extract(gold, c.policy)
		if err != nil && err2 != nil {
			return Expr{}, err2
		}
		for _, s := range candidates {
			if e2, err2 := Parse(s); err2 == nil && (told || err != nil && strings.Contains(gold, "$")) {
				e, err = e2, nil
				break
			}
		}
	}
	if err != nil {
		return Expr{}, err
	}
	return e, c.defined(e.root)
}

// defined refuses 0/0 and the like, in the whole or in a part.
func (c *comparer) defined(n *node) error {
	if n.kind != kRatio && len(n.vars()) == 0 { // 5:00 is a time
		c.m.vars, c.m.realOnly = nil, false
		switch _, err := c.m.eval(n); {
		case errors.Is(err, errUndefined):
			return fmt.Errorf("mathx: %.60q is undefined", n.String())
		case !errors.Is(err, errNotScalar):
			return nil
		}
	}
	for _, a := range n.args {
		if err := c.defined(a); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparer) readAnswer(completion string, gold Expr) (Expr, error) {
	candidates, err := extract(completion, c.policy)
	if err != nil {
		return Expr{}, err
	}
	err = errors.New("mathx: there is no answer")
	for _, s := range candidates {
		e, err2 := Parse(s)
		if err2 == nil && (e.root.kind != kText || textOf(gold.root) != "" || gold.root.kind == kList || gold.root.kind == kSet) {
			return e, nil
		}
		if err2 == nil {
			err2 = fmt.Errorf("mathx: %.60q is words", s)
		}
		err = err2
	}
	return Expr{}, err
}

// admissible refuses answers that leave the work to the grader.
func (c *comparer) admissible(a Expr) error {
	if a.root.any(func(n *node) bool { return n.kind == kSum }) {
		return errors.New("mathx: a sum, product or integral with limits is no final answer")
	}
	if c.policy.RequireEvaluated && a.root.any(unevaluated) {
		return errors.New("mathx: the answer is not worked out")
	}
	return nil
}

// unevaluated reports arithmetic on plain numbers that could be carried out.
func unevaluated(n *node) bool {
	number := func(a *node) bool { return a.kind == kNum || a.kind == kNeg && a.args[0].kind == kNum }
	switch n.kind {
	case kAdd, kMul:
		count := 0
		for _, a := range n.args {
			count += b2i(number(a) || a.kind == kDiv && number(a.args[0]) && number(a.args[1]))
		}
		return count > 1
	case kPow:
		return number(n.args[0]) && number(n.args[1])
	case kFn:
		return n.s == "factorial" || n.s == "binom"
	}
	return false
}
