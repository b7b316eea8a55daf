package progress

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPipe(t *testing.T) {
	var b bytes.Buffer
	l := &Line{w: &b, start: time.Now().Add(-10 * time.Second)}
	l.Show(0.5, "step %d", 1)
	l.Show(0.6, "step %d", 2) // too soon
	l.Print("table")
	l.Show(1, "step %d", 3) // the end is always shown
	require.Regexp(t, `^step 1 \| ETA 0:(09|10)\ntable\nstep 3\n$`, b.String())
}

func TestTerminal(t *testing.T) {
	var b bytes.Buffer
	l := &Line{w: &b, terminal: true, start: time.Now()}
	l.Show(1, "a long line")
	l.Show(1, "short")
	l.Print("table")
	require.Equal(t, "\ra long line\rshort      \r     \rtable\n", b.String())
	(&Line{}).Show(1, "nothing")
}
