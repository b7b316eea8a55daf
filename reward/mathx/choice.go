package mathx

import (
	"regexp"
	"slices"
	"strings"
)

// choiceOf is the letter of a reference that is one choice out of A to J.
func choiceOf(e Expr) (string, bool) {
	n := e.root
	if n.kind == kSym && len(n.s) == 1 && n.s[0] >= 'A' && n.s[0] <= 'J' {
		return n.s, true
	}
	return "", false
}

var (
	choiceWrap   = regexp.MustCompile(`\\(?:text|textbf|mathrm|mathbf|mbox|textrm|boxed|bf|rm|operatorname)\b|\*\*|^\*|\*$|[{}$_"'` + "`" + `“”]|\\[ ,;!()]`)
	choiceStart  = regexp.MustCompile(`^\s*(?:\(([A-Ja-j])\)|\[([A-J])\]|([A-J])(?:[.):,]|\s*$|\s*[-–]\s)|([a-j])\s*[.)]?\s*$)`)
	choiceLetter = regexp.MustCompile(`\(([A-J])\)|\b([A-J])\)|\b([A-J])\b`)
	arithmetic   = regexp.MustCompile(`[A-J]\s*[*+/^=<>]|[*+/^=<>]\s*[A-J]\b`)
)

// choice compares a letter. The answer names exactly one: alone, in parentheses, or before the text of the option.
func (c *comparer) choice(letter string, g Expr, completion string) Result {
	r := Result{Verdict: AnswerUnparseable, Gold: g.String()}
	text, err := choiceText(completion, c.policy)
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	found := lettersIn(text)
	if len(found) == 0 {
		if e, err := Parse(text); err == nil {
			r.Answer = e.String()
			r.Verdict, r.Reason = Different, "no choice is named"
			return r
		}
		r.Reason = "mathx: no choice is named"
		return r
	}
	r.Answer = strings.Join(found, ", ")
	r.Verdict, r.Reason = Different, "another choice"
	if len(found) > 1 {
		r.Reason = "more than one choice is named"
	} else if found[0] == letter {
		r.Verdict, r.Reason = Equal, "the same choice"
	}
	return r
}

// choiceText is the part of a completion that names the choice.
func choiceText(s string, p Policy) (string, error) {
	s, err := afterReasoning(s)
	if err != nil {
		return "", err
	}
	if i := strings.LastIndex(s, "<answer>"); i >= 0 {
		s, _, _ = strings.Cut(s[i+len("<answer>"):], "</answer>")
	}
	if box, ok, err := boxed(s, p); ok || err != nil {
		return box, err
	}
	if tail, ok := stated(s); ok {
		return firstSentence(tail), nil
	}
	s = strings.TrimSpace(s)
	if f := formulas(s); len(f) > 0 && f[0].from == 0 && f[len(f)-1].to == len(s) {
		return f[len(f)-1].joined, nil
	}
	return lastChoice(s), nil
}

// lastChoice is the last sentence of s that names a choice.
func lastChoice(s string) string {
	from := 0
	sentences := []string{}
	for _, m := range full.FindAllStringIndex(s, -1) {
		sentences = append(sentences, s[from:m[1]])
		from = m[1]
	}
	sentences = append(sentences, s[from:])
	for _, t := range slices.Backward(sentences) {
		if len(lettersIn(t)) > 0 {
			return t
		}
	}
	return s
}

// lettersIn returns the choices that a text names, each once. A text that begins with a choice names that one, unless
// nothing but further choices follows.
func lettersIn(s string) []string {
	s = strings.TrimSpace(choiceWrap.ReplaceAllString(s, " "))
	var out []string
	if arithmetic.MatchString(s) && len(s) < 40 {
		return nil
	}
	add := func(groups []string) {
		for _, g := range groups[1:] {
			if g = strings.ToUpper(g); g != "" && !slices.Contains(out, g) {
				out = append(out, g)
			}
		}
	}
	for _, m := range choiceLetter.FindAllStringSubmatch(s, -1) {
		if m[3] != "" && (m[3] == "I" || m[3] == "A" && !strings.HasPrefix(strings.TrimSpace(s), "A")) && strings.Count(s, " ") > 2 && !strings.HasSuffix(strings.TrimRight(s, ". "), m[3]) {
			continue // the pronoun, the article
		}
		add(m)
	}
	if m := choiceStart.FindStringSubmatch(s); m != nil && (len(out) == 0 || !listsChoices(s)) {
		out = nil
		add(m)
	}
	return out
}

var choiceList = regexp.MustCompile(`^\s*\(?[A-J]\)?(?:\s*(?:,|;|/|\||&|\band\b|\bor\b)\s*(?:\band\b|\bor\b)?\s*\(?[A-J]\)?)+`)

// listsChoices reports "A, C" and "A or C".
func listsChoices(s string) bool { return choiceList.MatchString(s) }
