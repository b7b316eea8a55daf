package mathx

import "strings"

func setOf(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// The commands of LaTeX that answers use, by what they are to the parser. None of these tables is changed after it is made.
var (
	// ignored says nothing about the value.
	ignored = setOf(`left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr displaystyle textstyle scriptstyle limits nolimits
		quad qquad mathopen mathclose middle bm boldsymbol mathbf mathit mathcal mathsf vec hat widehat tilde overrightarrow
		angle triangle rm bf it thinspace enspace nobreak allowbreak mathstrut strut small large Large normalsize
		therefore implies Rightarrow`)
	// braced is left out together with its group.
	braced = setOf("phantom hspace vspace hphantom vphantom label tag color")
	// textual switches to words.
	textual = setOf("text textbf textit textrm textnormal textsf texttt mbox hbox mathrm operatorname emph textup textsc underline")
	// commands start an operand.
	commands = setOf(`boxed fbox frac dfrac tfrac cfrac nicefrac sfrac sqrt binom dbinom tbinom overline bar dot begin end over choose infty emptyset varnothing
		mathbb mathds sum prod int lim lfloor rfloor lceil rceil lvert rvert langle rangle
		sin cos tan tg ctg arctg cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth ln log lg exp det max min gcd lcm pmod bmod mod`)
	greek = setOf(`alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi rho sigma tau
		upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar`)
	// asciiFunctions are the functions as plain text writes them, and the constants.
	asciiFunctions = setOf(`sin cos tan tg ctg arctg cot sec csc arcsin arccos arctan asin acos atan sinh cosh tanh ln log exp sqrt cbrt abs floor ceil
		max min gcd lcm binom det`)
)

var operators = map[string]string{
	"times": "*", "cdot": "*", "ast": "*", "star": "*", "div": "/", "slash": "/",
	"le": "≤", "leq": "≤", "leqslant": "≤", "leqq": "≤", "ge": "≥", "geq": "≥", "geqslant": "≥", "geqq": "≥",
	"lt": "<", "gt": ">", "ne": "≠", "neq": "≠", "approx": "≈", "simeq": "≈", "doteq": "≈", "equiv": "≡", "in": "∈", "notin": "∉",
	"pm": "±", "mp": "∓", "cup": "∪", "bigcup": "∪", "cap": "∩", "setminus": "∖", "backslash": "∖", "smallsetminus": "∖",
	"mid": "|", "vert": "|", "colon": ":", "circ": "°", "degree": "°", "textdegree": "°", "prime": "'",
	"ldots": "…", "dots": "…", "cdots": "…", "lbrace": "\\{", "rbrace": "\\}", "lbrack": "[", "rbrack": "]",
	"lor": "∨", "vee": "∨", "land": "∧", "wedge": "∧", "to": "→", "rightarrow": "→", "percent": "%", "euro": "€", "pounds": "£",
	"newline": "\\\\", "cr": "\\\\", "textdollar": "$", "and": ",", "sim": "≈",
}

// runes says what characters beyond ASCII are in LaTeX.
var runes = map[rune]string{
	'−': "-", '–': "-", '—': "-", '‐': "-", '‑': "-", '﹣': "-", '×': "\\times ", '·': "\\cdot ", '⋅': "\\cdot ", '∙': "\\cdot ", '∗': "*", '÷': "/", '∕': "/", '⁄': "/",
	'±': "\\pm ", '∓': "\\mp ", '√': "\\sqrt ", '∛': "\\sqrt[3]", '∜': "\\sqrt[4]", '∞': "\\infty ", '≤': "\\le ", '≥': "\\ge ", '⩽': "\\le ", '⩾': "\\ge ", '≠': "\\ne ",
	'≈': "\\approx ", '≡': "\\equiv ", '∈': "\\in ", '∉': "\\notin ", '∪': "\\cup ", '∩': "\\cap ", '∖': "\\setminus ", '∅': "\\emptyset ", '⌀': "\\emptyset ", 'Ø': "\\emptyset ", '°': "^\\circ ", 'º': "^\\circ ",
	'π': "\\pi ", 'θ': "\\theta ", 'α': "\\alpha ", 'β': "\\beta ", 'γ': "\\gamma ", 'δ': "\\delta ", 'ε': "\\epsilon ", 'λ': "\\lambda ", 'μ': "\\mu ", 'µ': "\\mu ",
	'ρ': "\\rho ", 'σ': "\\sigma ", 'τ': "\\tau ", 'φ': "\\phi ", 'ϕ': "\\phi ", 'ψ': "\\psi ", 'ω': "\\omega ", 'Ω': "\\Omega ", 'Δ': "\\Delta ", 'Σ': "\\Sigma ",
	'½': "\\frac{1}{2}", '⅓': "\\frac{1}{3}", '⅔': "\\frac{2}{3}", '¼': "\\frac{1}{4}", '¾': "\\frac{3}{4}", '⅕': "\\frac{1}{5}", '⅖': "\\frac{2}{5}",
	'⅗': "\\frac{3}{5}", '⅘': "\\frac{4}{5}", '⅙': "\\frac{1}{6}", '⅚': "\\frac{5}{6}", '⅛': "\\frac{1}{8}", '⅜': "\\frac{3}{8}", '⅝': "\\frac{5}{8}", '⅞': "\\frac{7}{8}",
	'⌊': "\\lfloor ", '⌋': "\\rfloor ", '⌈': "\\lceil ", '⌉': "\\rceil ", '⟨': "\\langle ", '⟩': "\\rangle ", '′': "'", '’': "'", '‘': "'", '“': " ", '”': " ",
	'ℝ': "\\mathbb{R}", 'ℤ': "\\mathbb{Z}", 'ℕ': "\\mathbb{N}", 'ℚ': "\\mathbb{Q}", 'ℂ': "\\mathbb{C}", '∑': "\\sum ", '∫': "\\int ", '∏': "\\prod ",
	'，': ",", '。': ".", '（': "(", '）': ")", '：': ":", '；': ";", '＝': "=", '％': "%", '…': "\\ldots ", '∨': "\\lor ", '∧': "\\land ", '→': "\\to ", '∶': ":",
	'€': "\\euro ", '£': "\\pounds ", '∘': "^\\circ ", '₀': "_0", '₁': "_1", '₂': "_2", '₃': "_3", '₄': "_4", '₅': "_5", '₆': "_6", '₇': "_7", '₈': "_8", '₉': "_9",
	'∣': "|", '∠': " ", '△': " ", '∴': " ", '⇒': " ",
}

var superscripts = map[rune]byte{
	'⁰': '0', '¹': '1', '²': '2', '³': '3', '⁴': '4', '⁵': '5', '⁶': '6', '⁷': '7', '⁸': '8', '⁹': '9', '⁻': '-', '⁺': '+', 'ⁿ': 'n', 'ˣ': 'x', '⁽': '(', '⁾': ')',
}

var numberWords = map[string]int64{
	"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
	"thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30,
	"forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100, "thousand": 1000, "million": 1000000,
	"billion": 1000000000, "trillion": 1000000000000, "dozen": 12,
}

// synonyms gives text answers one spelling; what stands for a mathematical object becomes it in special.
var synonyms = map[string]string{
	"does not exist": "dne", "doesn't exist": "dne", "do not exist": "dne", "nonexistent": "dne", "undefined": "dne",
	"no solution": "empty", "no solutions": "empty", "no real solution": "empty", "no real solutions": "empty", "none": "empty", "null set": "empty",
	"empty set": "empty", "empty": "empty", "no such": "empty", "no root": "empty", "no real root": "empty", "nothing": "empty",
	"infinity": "infinity", "infinite": "infinity", "positive infinity": "infinity", "negative infinity": "-infinity", "minus infinity": "-infinity",
	"all real": "reals", "all real number": "reals", "real number": "reals", "any real number": "reals", "all real x": "reals", "every real number": "reals",
	"set of all real number": "reals", "set of real number": "reals", "all real value": "reals",
	"monday": "monday", "mon": "monday", "tue": "tuesday", "wed": "wednesday", "thu": "thursday", "fri": "friday", "sat": "saturday", "sun": "sunday",
	"jan": "january", "feb": "february", "mar": "march", "apr": "april", "jun": "june", "jul": "july", "aug": "august", "sep": "september", "sept": "september",
	"oct": "october", "nov": "november", "dec": "december", "t": "true", "f": "false",
}
