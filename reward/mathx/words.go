package mathx

import (
	"math/big"
	"strings"
)

var (
	fillers   = setOf("a an the there is are it they that of answer option exactly only")
	fractions = map[string]int64{"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4,
		"fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "seventh": 7, "sevenths": 7, "eighth": 8, "eighths": 8, "ninth": 9, "ninths": 9, "tenth": 10, "tenths": 10}
)

// stem takes the plural off an English noun.
func stem(w string) string {
	switch {
	case len(w) > 4 && strings.HasSuffix(w, "ies"):
		return w[:len(w)-3] + "y"
	case len(w) > 4 && (strings.HasSuffix(w, "shes") || strings.HasSuffix(w, "ches") || strings.HasSuffix(w, "xes") || strings.HasSuffix(w, "sses")):
		return w[:len(w)-2]
	case len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && !strings.HasSuffix(w, "us") && !strings.HasSuffix(w, "is"):
		return w[:len(w)-1]
	}
	return w
}

// normalText folds case, articles, plurals and synonyms.
func normalText(words []string) string {
	var out []string
	for _, w := range words {
		w = strings.ToLower(strings.Trim(w, "'-"))
		if w != "" && (!fillers[w] || len(words) == 1) {
			out = append(out, stem(w))
		}
	}
	s := strings.Join(out, " ")
	for _, try := range [...]string{strings.ToLower(strings.Join(words, " ")), s} {
		if to, ok := synonyms[try]; ok {
			return to
		}
	}
	if len(out) > 1 {
		for i, w := range out {
			if to, ok := synonyms[w]; ok && len(w) >= 3 && to != "empty" {
				out[i] = to
			}
		}
		s = strings.Join(out, " ")
	}
	return s
}

// special gives texts that name a mathematical object that object.
func special(s string) *node {
	switch s {
	case "empty":
		return mk(kSet)
	case "reals":
		return mk(kReals)
	case "infinity":
		return mk(kInf)
	case "-infinity":
		return mk(kNeg, mk(kInf))
	}
	return textNode(s)
}

// itemEnd reports that t ends an item.
func (p *parser) itemEnd(k int) bool {
	t := p.peekAt(k)
	if t.kind == tEnd || t.is(",") || t.is(";") || t.is(")") || t.is("]") || t.is("}") || t.is("\\}") || t.is("&") || t.is("\\\\") || t.is("∨") || t.is("∧") {
		return true
	}
	w := strings.ToLower(t.s)
	return (t.kind == tWord || t.kind == tRun) && (w == "and" || w == "or")
}

// textItem reads an item that is words: a text, a number in words with its unit, or the name of an object. It returns nil,
// with nothing read, where the item is mathematics.
func (p *parser) textItem() *node {
	from := p.i
	if n := p.numberInWords(); n != nil {
		if u, err := p.units(n); err == nil && p.itemEnd(0) {
			return u
		}
		p.i = from
	}
	first := p.peek()
	switch {
	case first.kind == tSym && strings.Contains("aA", first.s) && p.peekAt(1).kind == tRun && p.peekAt(1).space && !isProduct(p.peekAt(1).s):
	case first.kind != tWord && first.kind != tRun,
		first.kind == tRun && (isProduct(first.s) && !p.more() || first.s == "pi"), asciiFunctions[first.s],
		p.itemEnd(1) && (len(first.s) == 1 || first.kind == tRun && first.s == strings.ToUpper(first.s)):
		return nil
	}
	var words []string
	k := 0
	for ; !p.itemEnd(k); k++ {
		t := p.peekAt(k)
		switch {
		case t.kind == tWord || t.kind == tRun || t.kind == tSym || t.kind == tNum:
			words = append(words, t.s)
		case t.is(".") || t.is("'") || t.is("-") || t.is("?") || t.is("!") || t.is("/"):
		default:
			return nil
		}
	}
	p.i += k
	return special(normalText(words))
}

// more reports another word behind the first.
func (p *parser) more() bool {
	t := p.peekAt(1)
	return !p.itemEnd(1) && t.space && (t.kind == tWord || t.kind == tRun && !isProduct(t.s))
}

// numberInWords reads "twenty-one", "three hundred and five", "two thirds"; nil where there is none.
func (p *parser) numberInWords() *node {
	var total, current int64
	seen := false
	for {
		t := p.peek()
		if t.kind != tWord && t.kind != tRun {
			break
		}
		word := strings.ToLower(t.s)
		if d, ok := fractions[word]; ok && seen && total+current > 0 {
			p.i++
			return ratNode(big.NewRat(total+current, d))
		}
		if word == "and" && seen && current%100 == 0 && current > 0 && numberWords[strings.ToLower(p.peekAt(1).s)] != 0 {
			p.i++
			continue
		}
		if word == "zero" && !seen {
			p.i++
			return numNode(0)
		}
		for part := range strings.SplitSeq(word, "-") {
			d, isFraction := fractions[part]
			if v := numberWords[part]; v != 0 && total < 1e15 {
				total, current = addWord(total, current, v)
			} else if isFraction && total+current > 0 && strings.Contains(word, "-") {
				p.i++
				return ratNode(big.NewRat(total+current, d))
			} else if seen {
				return numNode(total + current)
			} else {
				return nil
			}
		}
		p.i++
		seen = true
	}
	if !seen {
		return nil
	}
	return numNode(total + current)
}

func addWord(total, current, v int64) (int64, int64) {
	switch {
	case v == 12 && current > 0 && current < 12, v == 100: // dozen, hundred
		return total, max(current, 1) * v
	case v >= 1000:
		return total + max(current, 1)*v, 0
	}
	return total, current + v
}
