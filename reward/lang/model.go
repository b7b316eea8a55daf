package lang

import (
	"math"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// group is a set of languages that share a script.
type group struct {
	languages []string
	scripts   []*unicode.RangeTable
}

// groups are in the order in which a letter is looked up.
var groups = []group{
	{[]string{"en", "de", "fr", "es", "it", "pt", "nl", "pl", "cs", "hu", "ro", "sv", "tr", "vi", "id"}, []*unicode.RangeTable{unicode.Latin}},
	{[]string{"ru", "uk", "bg"}, []*unicode.RangeTable{unicode.Cyrillic}},
	{[]string{"ar", "fa"}, []*unicode.RangeTable{unicode.Arabic}},
	{[]string{"zh", "ja"}, []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana}},
	{[]string{"el"}, []*unicode.RangeTable{unicode.Greek}},
	{[]string{"ko"}, []*unicode.RangeTable{unicode.Hangul}},
	{[]string{"he"}, []*unicode.RangeTable{unicode.Hebrew}},
	{[]string{"hi"}, []*unicode.RangeTable{unicode.Devanagari}},
	{[]string{"th"}, []*unicode.RangeTable{unicode.Thai}},
}

// word is a word in lower case. first: it opens a sentence.
type word struct {
	text  string
	count int // words that it counts for: none for a single Latin letter, as likely a variable as a word
	first bool
}

// run is the words of one group of languages, in order.
type run struct {
	group  int // index into groups; -1: none
	words  []word
	labels []int // index into the group's languages, of each word
}

func (r *run) language(i int) string {
	if r.group < 0 {
		return ""
	}
	return groups[r.group].languages[r.labels[i]]
}

// groupOf finds the group that a letter belongs to, -1 where no language here is written with it.
func groupOf(r rune) int {
	return slices.IndexFunc(groups, func(g group) bool { return unicode.In(r, g.scripts...) || r == 'ー' && g.languages[0] == "zh" })
}

// split cuts prose into words and sorts them by script.
func split(prose string) []*run {
	runs := map[int]*run{}
	opened := map[int]bool{} // groups that had a word in this sentence
	var letters []rune
	at := -1
	end := func() {
		if len(letters) == 0 {
			return
		}
		r := runs[at]
		if r == nil {
			r = &run{group: at}
			runs[at] = r
		}
		text := strings.ReplaceAll(strings.ToLower(string(letters)), "\u0307", "") // the dot that lower case leaves of İ
		n := 1
		switch {
		case at == 0 && len(letters) == 1:
			n = 0
		case at >= 0 && groups[at].languages[0] == "th":
			n = (len(letters) + 3) / 4
		}
		r.words = append(r.words, word{text: text, count: n, first: !opened[at]})
		opened[at] = true
		letters = letters[:0]
	}
	for _, c := range prose {
		switch {
		case unicode.IsLetter(c) || c == 'ー':
			g := groupOf(c)
			alone := g >= 0 && groups[g].languages[0] == "zh"
			if g != at || alone {
				end()
			}
			at = g
			letters = append(letters, c)
		case unicode.IsMark(c):
			if len(letters) > 0 {
				letters = append(letters, c)
			}
		default:
			end()
			if strings.ContainsRune(".!?…。！？؟।;\n:", c) {
				clear(opened)
			}
		}
	}
	end()
	out := make([]*run, 0, len(runs))
	for g := -1; g < len(groups); g++ {
		if r := runs[g]; r != nil {
			out = append(out, r)
		}
	}
	return out
}

// Weights of the evidence, in nats, and costs of going over to another language.
const (
	isFunctionWord = 3.0
	hasForeign     = -4.0 // a letter that the language lacks
	hasOwn         = 1.0  // a letter beyond a to z that it has
	hasRare        = -1.5
	hasEnding      = 0.7
	switchWord     = 4.0
	switchSentence = 2.0
)

// label finds the likeliest languages of the words (Viterbi). Among equals the language that comes first.
func (r *run) label() {
	r.labels = make([]int, len(r.words))
	if r.group < 0 || len(groups[r.group].languages) == 1 {
		return
	}
	languages := groups[r.group].languages
	score := make([]float64, len(languages))
	from := make([][]int, len(r.words))
	known := map[string][]float64{} // evidence for each language
	for i, w := range r.words {
		cost := switchWord
		if w.first {
			cost = switchSentence
		}
		best := argmax(score)
		next := make([]float64, len(languages))
		from[i] = make([]int, len(languages))
		for l := range languages {
			from[i][l], next[l] = l, score[l]
			if i > 0 && score[best]-cost > score[l] {
				from[i][l], next[l] = best, score[best]-cost
			}
		}
		speaks, ok := known[w.text]
		if !ok {
			speaks = make([]float64, len(languages))
			for l := range languages {
				speaks[l] = evidence(languages[l], w.text)
			}
			known[w.text] = speaks
		}
		for l := range languages {
			next[l] += speaks[l]
		}
		score = next
	}
	for i, l := len(r.words)-1, argmax(score); i >= 0; i-- {
		r.labels[i] = l
		l = from[i][l]
	}
}

func argmax(x []float64) int {
	best := 0
	for i := range x {
		if x[i] > x[best] {
			best = i
		}
	}
	return best
}

// evidence is how much a word speaks for a language, in nats.
func evidence(language, text string) float64 {
	m := models()[language]
	score := 0.0
	if m.words[text] {
		score += isFunctionWord
		if len([]rune(text)) == 1 && language != "zh" && language != "ja" {
			score -= isFunctionWord / 2
		}
	}
	own, foreign, rarely := false, false, false
	for _, c := range text {
		switch {
		case strings.ContainsRune(m.letters, c):
			own = true
		case m.foreign[c]:
			foreign = true
		case strings.ContainsRune(m.rare, c):
			rarely = true
		}
	}
	if own {
		score += hasOwn
	}
	if foreign {
		score += hasForeign
	}
	if rarely {
		score += hasRare
	}
	marked := "^" + text + "$"
	hits := 0
	for _, e := range m.endings {
		if strings.Contains(marked, e) {
			hits++
		}
	}
	return score + hasEnding*math.Min(float64(hits), 3)
}

// modelOf is what is known of one language.
type modelOf struct {
	words   map[string]bool
	letters string
	foreign map[rune]bool // letters that another language of its group has and it has not
	rare    string
	endings []string
}

// models are made when they are first wanted.
var models = sync.OnceValue(buildModels)

func buildModels() map[string]modelOf {
	out := map[string]modelOf{}
	for _, g := range groups {
		for _, l := range g.languages {
			m := modelOf{words: map[string]bool{}, letters: letters[l], foreign: map[rune]bool{}, rare: rare[l]}
			for _, w := range strings.Fields(functionWords[l]) {
				m.words[w] = true
			}
			m.endings = strings.Fields(endings[l])
			for _, other := range g.languages {
				for _, c := range letters[other] {
					m.foreign[c] = !strings.ContainsRune(letters[l], c)
				}
			}
			out[l] = m
		}
	}
	zh, ja := out["zh"], out["ja"]
	for _, c := range "的了是不我们你他她这那在有和就都而与说为什么吗呢吧着过把被让给从对于很也还要会能得没個個這們說對為會來時於沒" {
		zh.words[string(c)] = true
	}
	for c := 'ぁ'; c <= 'ヿ'; c++ { // kana
		ja.words[string(c)], zh.foreign[c] = true, true
	}
	return out
}
