package chat

import "strings"

// Tags mark a model's thinking and, where AnswerOpen is not empty, its answer.
type Tags struct{ Open, Close, AnswerOpen, AnswerClose string }

// Think are the tags of DeepSeek-R1, Qwen3 and most others: <think> reasoning </think> answer.
func Think() Tags { return Tags{Open: "<think>", Close: "</think>"} }

// R1Zero are the tags of DeepSeek-R1-Zero (arXiv 2501.12948, table 1): <think> reasoning </think> <answer> answer </answer>.
func R1Zero() Tags {
	return Tags{Open: "<think>", Close: "</think>", AnswerOpen: "<answer>", AnswerClose: "</answer>"}
}

// Tags are the thinking tags that the template's text speaks of; Think where it speaks of none. Where they are special tokens of
// the tokenizer, a completion has to be decoded with them to be split.
func (t *Template) Tags() Tags {
	s, err := t.pick(false)
	for _, g := range [...]Tags{
		Think(),
		{Open: "[THINK]", Close: "[/THINK]"}, // Magistral
		{Open: "<seed:think>", Close: "</seed:think>"},          // Seed-OSS
		{Open: "<|START_THINKING|>", Close: "<|END_THINKING|>"}, // Command A Reasoning
	} {
		if err == nil && strings.Contains(s.text, g.Open) && strings.Contains(s.text, g.Close) {
			return g
		}
	}
	return Think()
}

// Opened tells that a prompt ends inside thinking: the template wrote the opening tag, so that the completion begins with reasoning.
func (g Tags) Opened(prompt string) bool {
	return strings.HasSuffix(strings.TrimRight(prompt, space), g.Open)
}

const space = " \t\n\r\v\f"

// Parts are a completion taken apart.
type Parts struct {
	Reasoning string // without the whitespace around it
	Answer    string // after the reasoning, without the whitespace before it; all of the text where there is no reasoning
	Rest      string // what follows a closed AnswerClose, without the whitespace around it
	Thought   bool   // there is thinking, be it empty
	Closed    bool   // the thinking has an end
}

// Split takes a completion apart. Thinking is at its start only, opened by the completion's first tag or, with opened, by the prompt
// (Tags.Opened). It ends at the first closing tag outside of code: one inside of a code span that ends on its line, or of a fenced
// block that ends, is text. Without a closing tag all of it is reasoning. A Splitter gives the same parts.
func Split(text string, tags Tags, opened bool) Parts {
	s := NewSplitter(tags, opened)
	s.Add(text)
	_, p := s.Close()
	return p
}

// Delta is what a piece of a completion adds to its parts.
type Delta struct{ Reasoning, Answer string }

// Splitter takes a completion apart as it comes, in pieces cut anywhere. It holds back what may turn out to be a tag, or whitespace
// to be left out; the deltas in a row are the parts that Split gives.
type Splitter struct {
	tags     Tags
	state    part
	tagged   bool // the answer stands in tags
	buf      string
	code     codeScanner
	space    string // whitespace held back
	reply    strings.Builder
	thoughts strings.Builder
	rest     strings.Builder
	parts    Parts
	delta    Delta
	final    bool
}

type part uint8

const (
	atStart   part = iota // before any tag
	atThought             // after an opening tag: leave out whitespace and a doubled tag
	inThought
	atAnswer // after the closing tag: leave out whitespace, look for the answer's tag
	inAnswer
	atRest
)

// NewSplitter starts a completion; opened: the prompt ends with the opening tag.
func NewSplitter(tags Tags, opened bool) *Splitter {
	s := &Splitter{tags: tags}
	if opened {
		s.think()
	}
	return s
}

func (s *Splitter) think() {
	s.state, s.parts.Thought = atThought, true
	s.code = codeScanner{end: s.tags.Close, lineStart: true}
}

// Add takes the next piece and returns what is new.
func (s *Splitter) Add(piece string) Delta {
	s.buf += piece
	s.delta = Delta{}
	for s.advance() {
	}
	return s.delta
}

// Close ends the completion: what was held back is released, and the parts are complete.
func (s *Splitter) Close() (Delta, Parts) {
	s.final = true
	d := s.Add("")
	s.parts.Reasoning, s.parts.Answer = s.thoughts.String(), s.reply.String()
	s.parts.Rest = strings.Trim(s.rest.String(), space)
	return d, s.parts
}

// advance goes one state further; false: it needs more text.
func (s *Splitter) advance() bool {
	switch s.state {
	case atStart:
		tag, ok := s.opening(s.tags.Open, s.tags.AnswerOpen)
		switch {
		case !ok:
			return false
		case tag == s.tags.Open:
			s.think()
		default:
			s.answer(tag != "")
		}
		return true
	case atThought:
		if _, ok := s.opening(s.tags.Open, ""); !ok {
			return false
		}
		s.state = inThought
		return true
	case inThought:
		return s.until(&s.thoughts, &s.delta.Reasoning, func() { s.state, s.parts.Closed = atAnswer, true })
	case atAnswer:
		tag, ok := s.opening(s.tags.AnswerOpen, "")
		if !ok {
			return false
		}
		s.answer(tag != "")
		s.buf = strings.TrimLeft(s.buf, space)
		return true
	case inAnswer:
		if s.tagged {
			return s.until(&s.reply, &s.delta.Answer, func() { s.state = atRest })
		}
		s.emit(&s.reply, &s.delta.Answer, s.buf)
	case atRest:
		s.rest.WriteString(s.buf)
	}
	s.buf = ""
	return false
}

func (s *Splitter) answer(tagged bool) {
	s.state, s.tagged = inAnswer, tagged
	s.code = codeScanner{end: s.tags.AnswerClose, lineStart: true}
}

// opening looks for one of two tags after whitespace, and takes it off; "" is no tag. ok is false while that is open.
func (s *Splitter) opening(a, b string) (tag string, ok bool) {
	t := strings.TrimLeft(s.buf, space)
	ok = s.final || t != ""
	for _, tag := range [...]string{a, b} {
		if tag != "" && strings.HasPrefix(t, tag) {
			s.buf = t[len(tag):]
			return tag, true
		}
		ok = ok && (s.final || !strings.HasPrefix(tag, t))
	}
	return "", ok
}

// until moves text up to the closing tag to a part, without the whitespace around it, and calls then behind the tag.
func (s *Splitter) until(to *strings.Builder, delta *string, then func()) bool {
	n, ended := s.code.scan(s.buf, s.final)
	text := s.buf[:n]
	s.buf = s.buf[n:]
	if to.Len() == 0 {
		text = strings.TrimLeft(text, space)
	}
	kept := strings.TrimRight(text, space)
	if kept != "" {
		s.emit(to, delta, s.space+kept)
		s.space = ""
	}
	s.space += text[len(kept):]
	if !ended {
		return false
	}
	s.space, s.buf = "", s.buf[len(s.code.end):]
	then()
	return true
}

func (s *Splitter) emit(to *strings.Builder, delta *string, text string) {
	to.WriteString(text)
	*delta += text
}
