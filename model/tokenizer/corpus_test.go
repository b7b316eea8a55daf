package tokenizer

import (
	"math/rand/v2"
	"strings"
)

// kinds of strings in the corpus with their counts; 31,667 in all.
var kinds = []struct {
	name  string
	count int
	make  func(r *rand.Rand) string
}{
	{"code", 6500, code},
	{"english", 4000, func(r *rand.Rand) string { return join(r, english, " ", 60) }},
	{"scripts", 3700, func(r *rand.Rand) string { return join(r, foreign, pick(r, []string{" ", "", "，", "。"}), 30) }},
	{"mixed pieces", 3000, mixed},
	{"random unicode", 2500, func(r *rand.Rand) string { return runes(r, 24, func() rune { return anyRune(r) }) }},
	{"special tokens", 2500, specials},
	{"blanks", 2000, blankRuns},
	{"contractions", 2000, contractions},
	{"latex", 1500, func(r *rand.Rand) string { return join(r, latex, pick(r, []string{"", " ", "\n"}), 20) }},
	{"combining marks", 1500, combining},
	{"digits", 1200, digits},
	{"emoji", 1200, func(r *rand.Rand) string { return join(r, emoji, pick(r, []string{"", " ", "\u200d", "\ufe0f"}), 10) }},
	{"long", 67, long},
}

// corpus makes the same strings for the same seed.
func corpus(seed uint64) (texts []string) {
	r := rand.New(rand.NewPCG(seed, 16))
	for _, k := range kinds {
		for range k.count {
			texts = append(texts, k.make(r))
		}
	}
	return texts
}

var (
	english = strings.Fields(`the of and to in is that for it was on are as with his they at be this from I have or by one
		had not but what all were when we there can an your which their said if do will each about how up out them then she
		many some so these would other into has more her two like him see time could no make than first been its who now
		people my made over did down only way find use may water long little very after words called just where most know
		Question: Answer, reasoning; "quoted" (aside) well-known e.g. U.S. 3.14 $5 50% rate/limit — dash… isn't they've
		unbelievable internationalization Mississippi xylophone GPU CUDA NaN http://example.com/a?b=c#d me@mail.org`)
	foreign = strings.Fields(`东京都 你好世界 中文分词测试 機械学習 こんにちは カタカナ ひらがな漢字まじり 한국어 문장 띄어쓰기 Привет мир
		Ελληνικά γλώσσα עברית العربية لغة हिन्दी भाषा বাংলা தமிழ் ไทยภาษา ქართული Հայերեն አማርኛ မြန်မာ ខ្មែរ naïve café Größe
		İstanbul ıǆ ŒUVRE ﬁle Ⅷ ½ ㈱ ー ゛ ・ 々 龥 龦 鿿 㐀 𠀀 𰀀 ʼn ß ẞ ǅ ª º ٠١٢ ０１２ ๔๕`)
	latex = []string{`\frac{a}{b}`, `\boxed{42}`, `$x^2 + y_1$`, `\begin{align*}`, `\end{align*}`, `&=`, `\\`, `\sqrt[3]{8}`,
		`\left(`, `\right)`, `\mathbb{R}`, `\[`, `\]`, `\sum_{i=1}^{n}`, `\text{ if }`, `\cdot`, `10^{-5}`, `\pi`, `\leq`, `%`, `\'e`}
	emoji = []string{"😀", "👨", "👩‍👩‍👧", "🇩🇪", "🇯🇵", "👍🏽", "❤️", "☃", "✈", "🏳️‍🌈", "1️⃣", "\U0001fae9", "🫠", "🪿", "©", "™", "〰", "㊗️", "a", "z9", "!"}
	words = []string{"func", "return", "if err != nil {", "}", "for i := range n {", "x += 1;", "var", "=>", "->", "==", "!=",
		"&&", "||", "\t", "\t\t", "    ", "\n", "\n\n", "\r\n", "# comment", "// note", "/* a */", "\"str\\n\"", "'c'", "0xFF",
		"1e-5", "self.foo(bar, baz=None)", "def f(a, b):", "import numpy as np", "std::vector<int>", "#include <stdio.h>",
		"const a = [1, 2, 3];", "`${x}`", "_private", "camelCase", "snake_case", "HTTPServer2", "<div class=\"a\">", "</div>", "@decorator"}
	special = []string{"<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>",
		"<|endoftext|>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>",
		"<｜end▁of▁sentence｜>", "<｜tool▁calls▁begin｜>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<unused7>", "<0x0A>",
		"<|im_start", "im_end|>", "<think", "▁▁▁", "▁", "<|fim_prefix|>", "\n\n\n", "<|EOT|>"}
	marks  = []rune{0x300, 0x301, 0x302, 0x303, 0x308, 0x30a, 0x323, 0x327, 0x328, 0x345, 0x5b0, 0x64b, 0x93c, 0x94d, 0x3099, 0x309a, 0x20dd, 0x1dc4}
	blank  = []rune{' ', ' ', ' ', '\n', '\n', '\t', '\r', '\v', '\f', 0x85, 0xa0, 0x1680, 0x180e, 0x2000, 0x2003, 0x200b, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff, 0x1c}
	zeroes = []rune{'0', 0x660, 0x6f0, 0x966, 0x9e6, 0xe50, 0x1040, 0xff10, 0x1d7ce, 0x1e950, 0x11f50, 0x1e4f0}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func join(r *rand.Rand, from []string, sep string, most int) string {
	parts := make([]string, 1+r.IntN(most))
	for i := range parts {
		parts[i] = pick(r, from)
	}
	return strings.Join(parts, sep)
}

func runes(r *rand.Rand, most int, next func() rune) string {
	out := make([]rune, 1+r.IntN(most))
	for i := range out {
		out[i] = next()
	}
	return string(out)
}

// anyRune draws from planes that matter: ASCII, the first plane, the rest; never a surrogate.
func anyRune(r *rand.Rand) rune {
	switch r.IntN(8) {
	case 0:
		return rune(r.IntN(0x80))
	case 1, 2:
		return rune(r.IntN(0x600))
	case 3:
		return rune(0x10000 + r.IntN(0x20000))
	case 4:
		return rune(0x1f000 + r.IntN(0xc00))
	case 5:
		return rune(0x2000 + r.IntN(0x1200))
	}
	c := rune(r.IntN(0xffff - 0x800))
	if c >= 0xd800 {
		c += 0x800
	}
	return c
}

func code(r *rand.Rand) string { return join(r, words, pick(r, []string{" ", "", "\n", "\n    "}), 40) }

func mixed(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(20) {
		b.WriteString(pick(r, pick(r, [][]string{english, foreign, latex, emoji, words})))
		if r.IntN(2) == 0 {
			b.WriteRune(pick(r, blank))
		}
	}
	return b.String()
}

func specials(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(8) {
		b.WriteString(pick(r, []string{"", " ", "\n", "Hi", "é", "e\u0301", "  x ", "你"}))
		b.WriteString(pick(r, special))
		b.WriteString(pick(r, []string{"", "", " ", "user\n", "1", "\u0301", "system"}))
	}
	return b.String()
}

func blankRuns(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(6) {
		b.WriteString(runes(r, 12, func() rune { return pick(r, blank) }))
		b.WriteString(pick(r, []string{"", "a", "word", "1", "!", "é", "中"}))
	}
	return b.String()
}

func contractions(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(8) {
		b.WriteString(pick(r, []string{"I", "they", "WE", " you", "é", "1", "!", " ", "中", ""}))
		b.WriteString(pick(r, []string{"'", "'", "'", "’", "ʼ", "''", " '"}))
		b.WriteString(pick(r, []string{"s", "S", "\u017f", "t", "T", "re", "RE", "Re", "ve", "vE", "m", "M", "ll", "LL", "lL", "d", "D", "x", "l", "r", "", "sx", "\u212a"}))
	}
	return b.String()
}

func combining(r *rand.Rand) string {
	return runes(r, 20, func() rune {
		switch r.IntN(4) {
		case 0:
			return pick(r, marks)
		case 1:
			return pick(r, []rune{'a', 'e', 'o', 'A', 'n', 'c', ' ', '1', '!', 'q'})
		case 2:
			return pick(r, []rune{0xe9, 0x1ea5, 0x212b, 0x1100, 0x1161, 0x11a8, 0xac00, 0x304b, 0x30cf, 0x915, 0xf900, 0x2f800, 0x958})
		}
		return anyRune(r)
	})
}

func digits(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(6) {
		zero := pick(r, zeroes)
		b.WriteString(runes(r, 9, func() rune { return zero + rune(r.IntN(10)) }))
		b.WriteString(pick(r, []string{"", " ", ".", ",", "-", "½", "Ⅻ", "²", "①", "a", "\n", "+", "/"}))
	}
	return b.String()
}

func long(r *rand.Rand) string {
	unit := pick(r, []string{" ", "\n", "a", "ab", "1", "=", "中", "é", " \n", "😀", "▁", "the ", "x1 ", "ſ", "\u0301", "aaa!"})
	return strings.Repeat(unit, 1000+r.IntN(20000/len(unit)))
}
