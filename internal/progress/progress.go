// Package progress writes the live line of a command: redrawn in place on a terminal, a line every few seconds in a pipe.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Line is a live line. The zero value writes nothing.
type Line struct {
	w        io.Writer
	terminal bool
	start    time.Time
	last     time.Time
	shown    int
}

// every is how often a pipe gets a line, and redraw how often a terminal is redrawn.
const (
	every  = 3 * time.Second
	redraw = 100 * time.Millisecond
)

// New returns a line on f whose time to the end is counted from now.
func New(f *os.File) *Line {
	info, err := f.Stat()
	return &Line{w: f, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, start: time.Now()}
}

// Begin starts a new piece of work: the time to the end counts from now.
func (l *Line) Begin() { l.start, l.last = time.Now(), time.Time{} }

// Show shows text and the time left when share of the work (0 to 1) is done.
func (l *Line) Show(share float64, format string, args ...any) {
	now := time.Now()
	wait := every
	if l.terminal {
		wait = redraw
	}
	if l.w == nil || now.Sub(l.last) < wait && share < 1 {
		return
	}
	l.last = now
	text := fmt.Sprintf(format, args...)
	if share > 0 && share < 1 {
		left := time.Duration(float64(now.Sub(l.start)) * (1 - share) / share)
		text += fmt.Sprintf(" | ETA %d:%02d", int(left.Minutes()), int(left.Seconds())%60)
	}
	if l.terminal {
		fmt.Fprintf(l.w, "\r%s%s", text, strings.Repeat(" ", max(0, l.shown-len(text))))
		l.shown = len(text)
		return
	}
	fmt.Fprintln(l.w, text)
}

// Print writes a lasting line above the live one.
func (l *Line) Print(format string, args ...any) {
	if l.w == nil {
		return
	}
	l.Clear()
	fmt.Fprintf(l.w, format+"\n", args...)
}

// Clear takes the live line off a terminal.
func (l *Line) Clear() {
	if l.w != nil && l.terminal && l.shown > 0 {
		fmt.Fprintf(l.w, "\r%s\r", strings.Repeat(" ", l.shown))
		l.shown = 0
	}
}
