package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// eachLine calls fn for each line of a file ("-": stdin) that is not blank. Errors name the file and the line.
func eachLine(path string, stdin io.Reader, fn func(text []byte) error) error {
	r, name := stdin, "stdin"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		r, name = f, path
	}
	in := bufio.NewReaderSize(r, 1<<16)
	for line := 1; ; line++ {
		text, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			if err := fn(text); err != nil {
				return fmt.Errorf("%s:%d: %w", name, line, err)
			}
		}
		if err != nil {
			return nil
		}
	}
}

// decodeStrict reads one JSON value into v; unknown fields and trailing text are errors.
func decodeStrict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value on the line")
	}
	return nil
}
