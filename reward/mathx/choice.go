package mathx

import (
	"regexp"
	"slices"
	"strings"
)

// goldChoice is the letter of a reference that is a choice out of A to J with its text behind it: (C) 24, Option C.
var goldChoice = regexp.MustCompile(`^\s*(?i:(?:option|choice|answer)\s*:?\s*)?(?:\(([A-J])\)|([A-J])(?:[.:)]\s|\s*$))`)

// choiceOf is the letter of a reference that is one choice out of A to J.
func choiceOf(gold string, e Expr) (string, bool) {
	if m := goldChoice.FindStringSubmatch(choiceWrap.ReplaceAllString(gold, " ")); m != nil && len(lettersIn(gold)) == 1 {
		return m[1] + m[2], true
	}
	n := e.root
	if n != nil && n.kind == kSym && len(n.s) == 1 && n.s[0] >= 'A' && n.s[0] <= 'J' {
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
func (c *comparer) choice(letter, completion string) Result {
	r := Result{Verdict: AnswerUnparseable, Gold: letter}
	text, prose, err := choiceText(completion, c.policy)
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	found := lettersIn(text)
	if prose && len(found) == 1 && !strings.Contains(text, found[0]) {
		found = nil // a small letter in running text is a word
	}
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

// choiceText is the part of a completion that names the choice; prose says that it is running text after an announcement.
func choiceText(s string, p Policy) (text string, prose bool, err error) {
	if s, err = afterReasoning(s); err != nil {
		return "", false, err
	}
	if i := strings.LastIndex(s, "<answer>"); i >= 0 {
		s, _, _ = strings.Cut(s[i+len("<answer>"):], "</answer>")
	}
	if box, ok, err := boxed(s, p); ok || err != nil {
		return box, false, err
	}
	if rest, ok := stated(s); ok {
		return firstSentence(head(rest, maxSentence)), !strings.HasPrefix(rest, "$"), nil
	}
	s = tail(strings.TrimSpace(s), maxSentence)
	if f := formulas(s); len(f) > 0 && f[0].from == 0 && f[len(f)-1].to == len(s) {
		return f[len(f)-1].joined, false, nil
	}
	if m := choiceStart.FindString(choiceWrap.ReplaceAllString(s, " ")); m != "" && !listsChoices(s) {
		return s, false, nil
	}
	return lastChoice(s), false, nil
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
	for _, at := range choiceLetter.FindAllStringSubmatchIndex(s, -1) {
		if at[6] >= 0 && wordNotChoice(s, at[6]) {
			continue
		}
		for k := 2; k < len(at); k += 2 {
			if at[k] >= 0 {
				add([]string{"", s[at[k]:at[k+1]]})
			}
		}
	}
	if m := choiceStart.FindStringSubmatch(s); m != nil && (len(out) == 0 || !listsChoices(s)) {
		out = nil
		add(m)
	}
	return out
}

var beforeNoun = regexp.MustCompile(`^\s+(?:[b-hj-np-z]|a[^n]|an[^d]|i[^s]|o[^r])[a-z]*`)

// wordNotChoice reports that the letter at i is the pronoun I or the article A before a noun.
func wordNotChoice(s string, i int) bool {
	return s[i] == 'I' && i+1 < len(s) || s[i] == 'A' && beforeNoun.MatchString(s[i+1:])
}

var choiceList = regexp.MustCompile(`^\s*\(?[A-J]\)?(?:\s*(?:,|;|/|\||&|\band\b|\bor\b)\s*(?:\band\b|\bor\b)?\s*\(?[A-J]\)?)+`)

// listsChoices reports "A, C" and "A or C".
func listsChoices(s string) bool { return choiceList.MatchString(s) }
