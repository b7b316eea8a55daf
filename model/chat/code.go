package chat

import "strings"

// codeScanner finds a tag outside of Markdown's code, in text that comes in pieces. A tag in a code span is text if the span ends on
// its line, and one in a fenced block if the block ends; of a block, a fence with a language after the tag proves that it did not.
type codeScanner struct {
	end       string // the tag
	lineStart bool   // only blanks since the newline
	fence     int    // backticks of the fence that is open; 0: none
	span      int    // backticks of the code span that is open on this line; 0: none
	seen      int    // bytes behind a tag in code that say nothing about where the code ends
}

type verdict uint8

const (
	unknown verdict = iota // needs more text
	yes
	no
)

// scan reads text as far as it can be judged and returns how far; ended: the tag stands there. final: no more text comes.
func (c *codeScanner) scan(text string, final bool) (n int, ended bool) {
	for i := 0; i < len(text); {
		rest := text[i:]
		switch b := rest[0]; {
		case b == '\n':
			c.lineStart, c.span = true, 0
			i++
		case b == '`':
			size := c.ticks(rest, final)
			if size == 0 {
				return i, false
			}
			i += size
		case b == c.end[0] && len(rest) < len(c.end) && strings.HasPrefix(c.end, rest):
			if !final {
				return i, false
			}
			i = len(text)
		case strings.HasPrefix(rest, c.end):
			switch c.inCode(rest[len(c.end):], final) {
			case unknown:
				return i, false
			case no:
				return i, true
			}
			c.seen, c.lineStart = 0, false
			i += len(c.end)
		default:
			c.lineStart = c.lineStart && (b == ' ' || b == '\t')
			i++
		}
	}
	return len(text), false
}

// run is the number of backticks at the start of s; ok is false where more may come.
func run(s string, final bool) (n int, ok bool) {
	n = len(s) - len(strings.TrimLeft(s, "`"))
	return n, final || n < len(s)
}

// info is what follows a fence on its line; ok is false while the line is not complete.
func info(s string, final bool) (text string, ok bool) {
	text, _, ok = strings.Cut(s, "\n")
	return text, ok || final
}

// bare tells that nothing follows a fence on its line, or the tag at once: it can end a block.
func (c *codeScanner) bare(info string) bool {
	info, _, _ = strings.Cut(info, c.end)
	return strings.Trim(info, space) == ""
}

// ticks reads a run of backticks, and the rest of the line where it is a fence. 0: it needs more text.
func (c *codeScanner) ticks(s string, final bool) int {
	n, ok := run(s, final)
	if !ok {
		return 0
	}
	if c.lineStart && n >= 3 {
		line, ok := info(s[n:], final)
		switch {
		case !ok:
			return 0
		case c.fence == 0 && strings.IndexByte(line, '`') < 0:
			c.fence, c.lineStart = n, false
			return n
		case c.fence > 0 && n >= c.fence && c.bare(line):
			c.fence, c.lineStart = 0, false
			return n
		}
	}
	c.lineStart = false
	switch {
	case c.fence > 0:
	case c.span == 0:
		c.span = n
	case c.span == n:
		c.span = 0
	}
	return n
}

// inCode tells whether a tag with the given text behind it is in code.
func (c *codeScanner) inCode(after string, final bool) verdict {
	switch {
	case c.fence > 0:
		return c.fenceEnds(after, final)
	case c.span > 0:
		return c.spanEnds(after, final)
	}
	return no
}

// spanEnds looks for the backticks that end the code span on this line.
func (c *codeScanner) spanEnds(after string, final bool) verdict {
	for {
		i := strings.IndexAny(after[c.seen:], "`\n")
		if i < 0 {
			c.seen = len(after)
			break
		}
		c.seen += i
		if after[c.seen] == '\n' {
			c.seen = 0
			return no
		}
		n, ok := run(after[c.seen:], final)
		if !ok {
			return unknown
		}
		if n == c.span {
			c.seen = 0
			return yes
		}
		c.seen += n
	}
	if final {
		return no
	}
	return unknown
}

// fenceEnds looks for the next fence: one without a language ends the block.
func (c *codeScanner) fenceEnds(text string, final bool) verdict {
	for {
		i := strings.IndexByte(text[c.seen:], '\n')
		if i < 0 {
			break
		}
		line := strings.TrimLeft(text[c.seen+i+1:], " \t")
		n, ok := run(line, final)
		after, complete := info(line[n:], final)
		if !ok || n >= c.fence && !complete {
			return unknown
		}
		if n >= c.fence {
			c.seen = 0
			if c.bare(after) {
				return yes
			}
			return no
		}
		c.seen += i + 1
	}
	if final {
		return no
	}
	return unknown
}
