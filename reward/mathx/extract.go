package mathx

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Extract returns the final answer a completion states: after the reasoning, the contents of <answer> where it is there, and in
// that the last box, else what follows "the answer is" or ####, else the last formula, else a short text itself.
// An error says why there is none.
func Extract(completion string, p Policy) (string, error) {
	candidates, err := extract(completion, p)
	if err != nil {
		return "", err
	}
	for _, c := range candidates {
		if _, err := Parse(c); err == nil {
			return c, nil
		}
	}
	return candidates[0], nil
}

// extract returns the readings of the one final answer, best first: the first that parses is it.
func extract(s string, p Policy) ([]string, error) {
	s, err := afterReasoning(s)
	if err != nil {
		return nil, err
	}
	if i := strings.LastIndex(s, "<answer>"); i >= 0 {
		s, _, _ = strings.Cut(s[i+len("<answer>"):], "</answer>")
	}
	if box, ok, err := boxed(s, p); ok || err != nil {
		return []string{box}, err
	}
	if rest, ok := stated(s); ok {
		if short := sentence(rest); len(short) > 0 {
			return short, nil
		}
		return nil, fmt.Errorf("mathx: no answer is stated")
	}
	if f := formulas(s); len(f) > 0 {
		return []string{f[len(f)-1].joined}, nil
	}
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, fmt.Errorf("mathx: there is no answer")
	}
	if len(s) <= 300 {
		if told := copula.FindAllStringIndex(s, -1); len(told) > 0 && isLetter(s[0]) && !strings.Contains(s, "\n") {
			if short := sentence(s[told[len(told)-1][1]:]); len(short) > 0 {
				return append(short[:1], sentence(s)...), nil
			}
			return nil, fmt.Errorf("mathx: no answer is stated")
		}
		if short := sentence(s); len(short) > 0 {
			return append(short, lastNumbers(s)...), nil
		}
	}
	if n := lastNumbers(s); len(n) > 0 {
		return n, nil
	}
	return nil, fmt.Errorf("mathx: no answer is stated in %d bytes of text", len(s))
}

// afterReasoning drops what was thought. Reasoning that does not end has no answer.
func afterReasoning(s string) (string, error) {
	if i := strings.LastIndex(s, "</think>"); i >= 0 {
		s = s[i+len("</think>"):]
	}
	if strings.Contains(s, "<think>") {
		return "", fmt.Errorf("mathx: the reasoning does not end")
	}
	return s, nil
}

type span struct {
	from, to int // of the whole box or formula
	inner    string
	joined   string // with those before it that make one list with it
}

// boxes returns every \boxed and \fbox that stands in no other.
func boxes(s string) []span {
	var out []span
	for i := 0; i < len(s); {
		at := strings.Index(s[i:], "box")
		if at < 0 {
			break
		}
		at += i
		i = at + 3
		start := at
		switch {
		case strings.HasSuffix(s[:at], "\\f"):
			start -= 2
		case strings.HasSuffix(s[:at], "\\") && strings.HasPrefix(s[at:], "boxed"):
			start, i = start-1, i+2
		default:
			continue
		}
		rest := s[i:]
		body := strings.TrimLeft(rest, " \n")
		skipped := len(rest) - len(body)
		var inner string
		n := 0
		switch {
		case strings.HasPrefix(body, "{"):
			if n = closing(body); n > 0 {
				inner = body[1 : n-1]
			} else if n = strings.IndexAny(body, "$\n"); n > 0 {
				inner = body[1:n]
			} else {
				n = len(body)
				inner = body[1:]
			}
		case body != "" && skipped > 0:
			if n = strings.IndexAny(body, " $\n"); n < 0 {
				n = len(body)
			}
			inner = body[:n]
		}
		i += skipped + n
		if strings.Trim(inner, " \\\n\t$~,.") != "" {
			out = append(out, span{from: start, to: i, inner: inner})
		}
	}
	return out
}

// connector is what may stand between boxes or formulas that make one list.
var connector = regexp.MustCompile(`^[\s$,;()\\.*]*(?:\band\b|\bor\b|\\text\{\s*(?:and|or)\s*\})?[\s$,;()\\*]*$`)

// joinBack joins the last span with those before it that only a connector separates. Repeated spans count once.
func joinBack(s string, spans []span) string {
	last := len(spans) - 1
	parts, seen := []string{spans[last].inner}, []string{spans[last].inner}
	for i := last; i > 0 && len(parts) < 64; i-- {
		between := s[spans[i-1].to:spans[i].from]
		if len(between) > 40 || !connector.MatchString(between) || strings.Contains(between, ". ") || strings.Contains(between, "\n\n") {
			break
		}
		if slices.Contains(seen, spans[i-1].inner) {
			continue
		}
		seen = append(seen, spans[i-1].inner)
		if strings.Contains(between, "or") {
			parts[len(parts)-1] = " \\text{ or } " + parts[len(parts)-1]
		} else {
			parts[len(parts)-1] = " , " + parts[len(parts)-1]
		}
		parts = append(parts, spans[i-1].inner)
	}
	slices.Reverse(parts)
	return strings.Join(parts, "")
}

// boxed returns the content of the last box, a list where several stand side by side.
func boxed(s string, p Policy) (string, bool, error) {
	all := boxes(s)
	if len(all) == 0 {
		return "", false, nil
	}
	limit := p.MaxBoxes
	if limit == 0 {
		limit = 4
	}
	distinct := map[string]bool{}
	for _, b := range all {
		distinct[strings.Join(strings.Fields(b.inner), "")] = true
	}
	if len(distinct) > limit {
		return "", false, fmt.Errorf("mathx: %d different boxes: no single answer", len(distinct))
	}
	return joinBack(s, all), true, nil
}

// Boxed returns the content of the last box of a solution in the manner of MATH, and false where there is none.
func Boxed(solution string) (string, bool) {
	all := boxes(solution)
	if len(all) == 0 {
		return "", false
	}
	return all[len(all)-1].inner, true
}

// GSM8K returns the reference of a solution in the manner of GSM8K: what follows the last ####, without separators of thousands.
func GSM8K(solution string) (string, bool) {
	i := strings.LastIndex(solution, "####")
	if i < 0 {
		return "", false
	}
	line, _, _ := strings.Cut(strings.TrimLeft(solution[i+4:], " "), "\n")
	line = strings.ReplaceAll(strings.TrimSpace(line), ",", "")
	return line, line != ""
}

// announce is "answer is", "answer:" and the like, at the start of a text.
var announce = regexp.MustCompile(`^(?i:answers?)\b(?:[*_\s]|\\text\{|\})*(?:(?i:is|are|would be|should be|must be|equals)\b|[:=])[*_]*`)

// announced returns where the last announcement of the answer ends, -1 where there is none.
func announced(s string) int {
	for i := len(s); ; {
		if i = strings.LastIndex(s[:i], "nswer"); i < 1 {
			return -1
		}
		if i > 1 && isLetter(s[i-2]) {
			continue
		}
		if m := announce.FindStringIndex(s[i-1 : min(i+80, len(s))]); m != nil {
			return i - 1 + m[1]
		}
	}
}

// stated returns what follows the last #### or announcement of the answer.
func stated(s string) (string, bool) {
	at := announced(s)
	if i := strings.LastIndex(s, "####"); i >= 0 {
		at = max(at, i+4)
	}
	if at < 0 || strings.TrimSpace(s[at:]) == "" {
		return "", false
	}
	return strings.TrimSpace(s[at:]), true
}

// maxSentence bounds how far into running text an answer is looked for, in bytes.
const maxSentence = 2000

var (
	stop    = regexp.MustCompile(`(?i)(?:,\s*not|(?:,\s*|\s+)(?:because|since|as|so|which|where|when|rather than|instead of|but|due to|thanks to|if))\s`)
	full    = regexp.MustCompile(`[.!?][*_]*(?:\s|$)`)
	copula  = regexp.MustCompile(`(?i)\b(?:is|are|equals|becomes)\s`)
	negated = regexp.MustCompile(`(?i)\b(?:not|never|cannot)\b|n't\b`)
	denial  = regexp.MustCompile(`(?i)^(?:not|never|between|unknown|neither\s\S+\snor)\b`)
	adverb  = regexp.MustCompile(`(?i)^(?:definitely|clearly|simply|therefore|thus|just|equal to|given by|probably|indeed|exactly|approximately|about|[:=])\s*`)
)

// sentence returns the readings of an answer at the start of running text.
func sentence(s string) []string {
	s = head(s, maxSentence)
	s = strings.Trim(strings.TrimSpace(s), "*_`\"“”")
	for m := adverb.FindString(s); m != ""; m = adverb.FindString(s) {
		s = s[len(m):]
	}
	line := firstSentence(s)
	if line == "" || denial.MatchString(line) {
		return nil
	}
	if f := formulas(line); len(f) > 0 && len(f[0].inner) < len(line) {
		rest := line[f[len(f)-1].to:]
		whole := strings.TrimSpace(line[:f[0].from]) == "" && strings.Trim(rest, " .*,;$") == ""
		if whole {
			return []string{line}
		}
		if strings.TrimSpace(line[:f[0].from]) == "" && !hedges.MatchString(line) {
			return []string{cutStop(line), f[0].inner}
		}
	}
	out := []string{cutStop(line)}
	if n := lastNumbers(line); len(n) > 0 {
		out = append(out, n...)
	}
	return out
}

// head and tail cut s to n bytes, between characters.
func head(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n = len(s) - n; !utf8.RuneStart(s[n]) && n < len(s)-1; {
		n++
	}
	return s[n:]
}

// firstSentence ends at a full stop before white space, or at the end of the line; formulas are not cut.
func firstSentence(s string) string {
	line, rest, _ := strings.Cut(s, "\n")
	if strings.Count(line, "$")%2 == 1 || strings.Count(line, "\\[") > strings.Count(line, "\\]") || strings.Contains(line, "\\begin") {
		line += "\n" + rest
		if i := strings.Index(line, "\n\n"); i >= 0 {
			line = line[:i]
		}
	}
	for _, m := range full.FindAllStringIndex(line, 16) {
		if strings.Count(line[:m[0]], "$")%2 == 0 && !strings.HasSuffix(line[:m[0]], ".") && !abbreviation(line[:m[0]]) && line[m[0]] != '!' {
			return strings.TrimSpace(line[:m[0]])
		}
	}
	return strings.Trim(strings.TrimSpace(line), "*_`")
}

// abbreviation reports that the stop at the end of s belongs to "sq." or "p.m.".
func abbreviation(s string) bool {
	for _, a := range [...]string{" sq", " cu", " a.m", " p.m", " p", " a", " approx", " Oct", " Nov", " Dec", " Sept", " Aug", " Jan", " Feb"} {
		if strings.HasSuffix(s, a) {
			return true
		}
	}
	return false
}

func cutStop(s string) string {
	if m := stop.FindStringIndex(s); m != nil && m[0] > 0 {
		s = s[:m[0]]
	}
	return strings.Trim(strings.TrimSpace(s), "*_`\"")
}

// formulas returns what stands between dollars, \( \) and \[ \].
func formulas(s string) []span {
	var out []span
	for i := 0; i < len(s); i++ {
		from := i
		end := ""
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			switch s[i] {
			case '(':
				end = "\\)"
			case '[':
				end = "\\]"
			default:
				continue
			}
		case strings.HasPrefix(s[i:], "$$"):
			end = "$$"
			i++
		case s[i] == '$':
			end = "$"
		default:
			continue
		}
		n := endOf(s[i+1:], end)
		if n < 0 { // not closed: it goes on to the end
			n = len(s) - i - 1
		}
		inner := s[i+1 : i+1+n]
		i = min(i+n+len(end), len(s)-1)
		if strings.TrimSpace(inner) != "" {
			out = append(out, span{from: from, to: min(i+1, len(s)), inner: inner})
		}
	}
	for k := range out {
		if k == len(out)-1 {
			out[k].joined = joinBack(s, out)
		}
	}
	return out
}

// endOf finds the end of a formula, stepping over escaped characters.
func endOf(s, end string) int {
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], end) {
			return i
		}
		if s[i] == '\\' {
			i++
		}
	}
	return -1
}

var (
	numberText = `[-−+]?(?:\\?\$)?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?`
	numbers    = regexp.MustCompile(numberText)
	hedges     = regexp.MustCompile(`(?i)\b(?:or|either|maybe|perhaps|possibly|between|alternatively|could|might|neither|not|to)\b`)
)

// lastNumbers is the number in the last sentence of a text with the words after it. Where that sentence has several and
// hedges, there is none.
func lastNumbers(s string) []string {
	if strings.Contains(s, "\\") {
		return nil // formulas are for the parser
	}
	s = tail(strings.TrimSpace(s), maxSentence)
	cut := full.FindAllStringIndex(s, -1)
	for k := len(cut) - 1; k >= 0; k-- {
		if cut[k][1] < len(s) && strings.ContainsAny(s[cut[k][1]:], "0123456789") {
			s = s[cut[k][1]:]
			break
		}
	}
	all := numbers.FindAllStringIndex(s, -1)
	if len(all) == 0 {
		return nil
	}
	last := all[len(all)-1]
	distinct := map[string]bool{}
	for _, m := range all {
		distinct[s[m[0]:m[1]]] = true
	}
	if len(distinct) > 1 && hedges.MatchString(s) || negated.MatchString(s) {
		return nil
	}
	phrase := strings.TrimRight(cutStop(firstSentence(s[last[0]:])), ".")
	return []string{phrase, strings.TrimRight(s[last[0]:last[1]], ",")}
}
