package chat

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bombs are templates that would run, grow or nest without end.
var bombs = map[string]string{
	"steps":               "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
	"steps in filters":    "{% for a in range(9999) %}{{ range(9999)|sum }}{% endfor %}",
	"steps in tests":      "{{ range(99999)|map('string')|select('in', range(99999)|list)|list }}",
	"output":              "{% for a in range(9999) %}{{ 'x' * 99999 }}{% endfor %}",
	"one string":          "{{ 'x' * 999999999999 }}",
	"a huge factor":       "{{ 'x' * 99999999999999999999999 }}",
	"a list":              "{{ [1] * 999999999 }}",
	"doubling":            "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
	"doubling by join":    "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(99) %}{% set ns.s = ns.s.join('abc') %}{% endfor %}",
	"doubling by replace": "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(99) %}{% set ns.s = ns.s|replace('x', 'xx') %}{% endfor %}",
	"doubling by blocks":  "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(99) %}{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}",
	"doubling by format":  "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(99) %}{% set ns.s = '{0}{0}'.format(ns.s) %}{% endfor %}",
	"doubling lists":      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
	"shared lists":        "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
	"shared in JSON":      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}",
	"shared, compared":    "{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}",
	"shared, as a key":    "{% set ns = namespace(s=(1,)) %}{% for i in range(99) %}{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}",
	"deep value":          "{% set ns = namespace(s=[1]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
	"recursion":           "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
	"mutual recursion":    "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
	"recursive loop":      "{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}",
	"branching recursion": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(40) }}",
	"caller":              "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}",
	"a wide field":        "{{ '%999999999d' % 1 }}{{ '%999999999d' % 1 }}" + strings.Repeat("{{ '%999999d' % 1 }}", 200),
	"wide fields":         strings.Repeat("{{ '{:999999}'.format(1) }}", 300),
	"center":              "{{ 'x'|center(999999999) }}",
	"zfill":               "{{ 'x'.zfill(9999999999) }}",
	"expandtabs":          "{{ ('\\t' * 9999).expandtabs(999999) }}",
	"indent":              "{{ ('\\n' * 9999)|indent(99999, blank=true) }}",
	"JSON indent":         "{{ [[[[1]]]]|tojson(indent=999999999) }}",
	"batch":               "{{ [1]|batch(999999999, 'x')|list }}",
	"slice":               "{{ [1]|slice(999999999)|list }}",
	"power":               "{{ 9 ** 999999999 }}",
	"power of power":      "{% set ns = namespace(n=9) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}{{ ns.n }}",
	"range":               "{{ range(999999999)|list }}",
	"a huge integer":      "{{ 9 ** 9999 }}{{ " + strings.Repeat("9", 9999) + " }}",
	"split":               "{% set s = 'a ' * 9999 %}{% for i in range(9999) %}{% set x = s.split() %}{% endfor %}",
	"sort":                "{% for i in range(9999) %}{% set x = range(9999)|sort(reverse=true) %}{% endfor %}",
	"brackets":            "{{ " + strings.Repeat("(", 5000) + strings.Repeat(")", 5000) + " }}",
	"nots":                "{{ " + strings.Repeat("not ", 5000) + "1 }}",
	"signs":               "{{ " + strings.Repeat("-", 5000) + "1 }}",
	"blocks":              strings.Repeat("{% if 1 %}", 5000) + strings.Repeat("{% endif %}", 5000),
	"ifs":                 "{{ " + strings.Repeat("1 if 1 else ", 5000) + "1 }}",
	"source":              strings.Repeat("x", 300<<10),
}

// Every bomb is an error of a spent budget, or one that Python gives too, and allocates within the budget.
func TestBombs(t *testing.T) {
	for name, text := range bombs {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := renderCase(text, []byte("{}"))
		runtime.ReadMemStats(&after)
		var e *Error
		require.ErrorAs(t, err, &e, name)
		if !errors.Is(err, ErrLimit) {
			require.Contains(t, []string{"OverflowError", "RecursionError", "ValueError", "TemplateSyntaxError", "MemoryError"}, e.Kind, name)
		}
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<30), "%s allocates %d MiB in all", name, (after.TotalAlloc-before.TotalAlloc)>>20)
	}
}

// A long chain of operators is no nesting.
func TestLongTemplates(t *testing.T) {
	for name, text := range map[string]string{
		"sum":     "{{ 1" + strings.Repeat(" + 1", 20000) + " }}",
		"filters": "{{ 'x'" + strings.Repeat("|trim", 20000) + " }}",
		"elifs":   "{% if 0 %}" + strings.Repeat("{% elif 0 %}", 10000) + "{% else %}x{% endif %}",
		"ors":     "{{ 0" + strings.Repeat(" or 0", 20000) + " }}",
	} {
		_, err := renderCase(text, []byte("{}"))
		require.NoError(t, err, name)
	}
}

// The budget counts, it does not measure time: the same render stops at the same place.
func TestBudgetIsDeterministic(t *testing.T) {
	for _, text := range []string{bombs["steps"], bombs["output"], bombs["doubling"]} {
		_, a := renderCase(text, []byte("{}"))
		_, b := renderCase(text, []byte("{}"))
		require.Equal(t, a.Error(), b.Error())
	}
}

// A large conversation is no bomb: 4,000 turns of 500 bytes through TRL's kind of template.
func TestLargeConversation(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`{"messages":[`)
	for i := range 4000 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"role":"` + []string{"user", "assistant"}[i%2] + `","content":"` + strings.Repeat("word ", 100) + `"}`)
	}
	b.WriteString(`]}`)
	text := "{%- set ns = namespace(last=0) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}" +
		"{%- for m in messages %}{%- set content = m.content if m.content is string else '' %}{{- '<|im_start|>' + m.role + '\\n' }}" +
		"{%- if m.role == 'assistant' %}{%- if '</think>' in content %}{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}" +
		"{%- if loop.index0 > ns.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}{{- content | trim + '<|im_end|>\\n' }}{%- endfor %}"
	r, err := renderCase(text, b.Bytes())
	require.NoError(t, err)
	require.Greater(t, len(r.Text), 4000*500)
}

// Very many spans in a long text take one pass over it.
func TestManySpans(t *testing.T) {
	r, err := renderCase("{{ 'é' * 999999 }}{% for i in range(50000) %}{% generation %}é{% endgeneration %}{% endfor %}", []byte("{}"))
	require.NoError(t, err)
	require.Len(t, r.Spans, 50000)
	require.Equal(t, [2]int{2 * 999999, 2*999999 + 2}, r.Spans[0])
	require.Equal(t, [2]int{len(r.Text) - 2, len(r.Text)}, r.Spans[49999])
}

// attacks are ways in which templates of other engines reached Python's internals, the environment, files or processes.
func attacks() (out []string) {
	objects := []string{"''", "[]", "()", "{}", "1", "1.5", "true", "none", "x", "messages", "range", "dict", "namespace()", "cycler('a')", "joiner()", "lipsum", "self", "raise_exception", "''.join", "loop"}
	paths := []string{
		".__class__.__mro__[1].__subclasses__()", ".__class__.__base__.__subclasses__()", "['__class__']['__mro__']", "|attr('__class__')|attr('__mro__')", ".__init__.__globals__['os'].popen('id').read()",
		".__globals__.os.environ", ".__init__.__globals__.__builtins__.open('/etc/passwd').read()", "['__init__']['__globals__']", ".__reduce_ex__(3)", "|map(attribute='__class__')|list|first|attr('mro')", ".__class__.mro()",
	}
	for _, o := range objects {
		for _, p := range paths {
			out = append(out, "{{ "+o+p+" }}")
		}
	}
	return append(out,
		"{% include '/etc/passwd' %}", "{% import 'os' as os %}", "{% from 'os' import system %}", "{% extends '/etc/passwd' %}", "{{ self._TemplateReference__context.x }}", "{{ config.items() }}",
		"{{ request.application.x }}", "{{ '{0.__class__.__mro__}'.format(1)[0] + 1 }}", "{{ '{0.__class__.__init__.__globals__[os]}'.format(1) }}", "{{ '%(x.y)s' % {} }}", "{% for a in [].__class__.__base__.__subclasses__() %}{% endfor %}",
		"{% set x = ''.__class__.__bases__[0] %}", "{{ [].append(1) }}", "{{ {}.update({'a': 1}) }}", "{{ {'a':1}.pop('a') }}", "{{ [1].clear() }}", "{{ {}.setdefault('a', 1) }}", "{{ [2, 1].sort() }}", "{{ [1].extend([2]) }}", "{{ [1].insert(0, 1) }}",
		"{{ os.environ }}{{ os.x.y }}", "{{ __import__('os') }}", "{{ open('/etc/passwd') }}", "{{ eval('1') }}", "{{ exec('1') }}", "{{ globals() }}", "{{ getattr(x, 'y') }}",
	)
}

// None of them gives anything: each fails.
func TestAttacks(t *testing.T) {
	all := attacks()
	require.Greater(t, len(all), 200)
	for _, text := range all {
		r, err := renderCase(text, []byte(`{"x":"s","messages":[{"role":"user"}]}`))
		require.Error(t, err, "%s gives %q", text, r.Text)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, text := range bombs {
		if len(text) < 1000 {
			f.Add(text, `{}`)
		}
	}
	for _, text := range attacks()[:20] {
		f.Add(text, `{"x":1}`)
	}
	f.Add("{% for m in messages if m.role != 'x' %}{{ loop.index ~ m.content|trim|tojson(indent=2) }}{%- else -%}{% raw %}{{{% endraw %}{% endfor %}", `{"messages":[{"role":"user","content":"é"}]}`)
	f.Add("{% macro f(a, b=1) %}{{ a[::-1] }}{{ caller(b) if caller else varargs }}{% endmacro %}{% call(x) f('ab') %}{{ x }}{% endcall %}", `{}`)
	f.Add("{{ '%5.2f|%-5s|%(a)d' % (1, 2) }}{{ '{:>{w}}'.format('a', w=5) }}{{ strftime_now('%-d %B %Y') }}", `{}`)
	f.Add("{% generation %}{% set x | upper %}a{% endset %}{{ x }}{% endgeneration %}{% filter replace('a', 'b') %}a{% endfilter %}", `{}`)
	f.Add("{{ users|groupby('a.b')|map(attribute='list')|list }}{{ d|dictsort(by='value')|batch(2, 0)|list }}", `{"users":[{"a":{"b":1}}],"d":{"a":1}}`)
	f.Fuzz(func(t *testing.T, text, vars string) {
		r, err := renderCase(text, []byte(vars))
		if err != nil {
			return
		}
		again, err := renderCase(text, []byte(vars))
		require.NoError(t, err)
		require.Equal(t, r, again)
		for _, s := range r.Spans {
			require.True(t, 0 <= s[0] && s[0] <= s[1] && s[1] <= len(r.Text))
		}
	})
}
