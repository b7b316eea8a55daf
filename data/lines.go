package data

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// lines reads JSON Lines: one object a line, blank lines between them or not.
type lines struct {
	text io.Closer
	r    *bufio.Reader
	max  int
	buf  []byte
}

func openLines(f file, o Options, at Cursor) (reader, error) {
	text, err := openAt(f, at.Offset)
	if err != nil {
		return nil, err
	}
	return &lines{text: text, r: bufio.NewReaderSize(text, 1<<16), max: o.MaxLine}, nil
}

// Close closes the file.
func (l *lines) Close() error { return l.text.Close() }

// next returns the next line that is not blank.
func (l *lines) next(at *Cursor) (Object, int64, error) {
	for {
		line, err := l.line(at)
		if err != nil {
			return nil, at.Line, err
		}
		if len(line) == 0 {
			continue
		}
		fields, err := parseObject(line)
		if err != nil {
			return nil, at.Line, &badLine{err}
		}
		return fields, at.Line, nil
	}
}

// line reads one line without what ends it; it is valid until the next call. A line that is too long is read over.
func (l *lines) line(at *Cursor) ([]byte, error) {
	first := at.Offset == 0
	l.buf = l.buf[:0]
	size := 0
	for {
		part, err := l.r.ReadSlice('\n')
		size += len(part)
		at.Offset += int64(len(part))
		if size <= l.max {
			l.buf = append(l.buf, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			at.Line++
			return nil, damaged(err)
		}
		if size == 0 {
			return nil, io.EOF
		}
		break
	}
	at.Line++
	if size > l.max {
		return nil, &badLine{fmt.Errorf("the line has %d bytes, the most is %d; raise Options.MaxLine", size, l.max)}
	}
	line := l.buf
	if first {
		var err error
		if line, err = withoutBOM(line); err != nil {
			return nil, err
		}
	}
	return bytes.TrimSpace(line), nil
}

// withoutBOM removes the mark with which some programs begin a file in UTF-8.
func withoutBOM(text []byte) ([]byte, error) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, errors.New("the file is UTF-16; convert it to UTF-8")
	}
	return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), nil
}

// damaged explains an error of reading or decompressing.
func damaged(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the compressed file ends in the middle (%w); it is cut off: fetch it again", err)
	}
	return fmt.Errorf("cannot be read further: %w", err)
}
