package data

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var errThriftShort = errors.New("ends in the middle")

// thriftWalk walks over one structure of Thrift's compact protocol without keeping anything, so that what is decoded afterwards
// is known to be as long and as deep as its bytes.
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
type thriftWalk struct {
	b       []byte
	at      int
	structs int // met so far
}

// checkThrift returns the length of the structure at the beginning of b.
func checkThrift(b []byte) (int, error) {
	w := thriftWalk{b: b}
	err := w.structure(0)
	return w.at, err
}

// The types of the compact protocol.
const (
	thriftTrue, thriftFalse, thriftByte, thriftI16, thriftI32, thriftI64 = 1, 2, 3, 4, 5, 6
	thriftDouble, thriftBinary, thriftList, thriftSet, thriftMap         = 7, 8, 9, 10, 11
	thriftStruct                                                         = 12
)

func (w *thriftWalk) structure(depth int) error {
	if depth > maxThriftDeep {
		return fmt.Errorf("is nested deeper than %d", maxThriftDeep)
	}
	if w.structs++; w.structs > 1024+len(w.b)/4 {
		return errors.New("has more structures than its bytes can hold")
	}
	for {
		head, err := w.byte()
		if err != nil || head == 0 {
			return err
		}
		if head>>4 == 0 {
			if _, err := w.varint(); err != nil { // the field's number in full
				return err
			}
		}
		if kind := head & 15; kind != thriftTrue && kind != thriftFalse { // the type is the value
			if err := w.value(kind, depth); err != nil {
				return err
			}
		}
	}
}

func (w *thriftWalk) value(kind byte, depth int) error {
	switch kind {
	case thriftTrue, thriftFalse, thriftByte:
		return w.skip(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := w.varint()
		return err
	case thriftDouble:
		return w.skip(8)
	case thriftBinary:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thriftList, thriftSet:
		return w.list(depth)
	case thriftMap:
		return errors.New("has a map, and Parquet has none")
	case thriftStruct:
		return w.structure(depth + 1)
	}
	return fmt.Errorf("has a value of unknown type %d", kind)
}

func (w *thriftWalk) list(depth int) error {
	if depth > maxThriftDeep {
		return fmt.Errorf("is nested deeper than %d", maxThriftDeep)
	}
	head, err := w.byte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = w.varint(); err != nil {
			return err
		}
	}
	if n > uint64(len(w.b)-w.at) {
		return errThriftShort // an element has at least one byte
	}
	for range n {
		if err := w.value(head&15, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *thriftWalk) byte() (byte, error) {
	if w.at >= len(w.b) {
		return 0, errThriftShort
	}
	w.at++
	return w.b[w.at-1], nil
}

func (w *thriftWalk) varint() (uint64, error) {
	v, n := binary.Uvarint(w.b[w.at:])
	if n == 0 {
		return 0, errThriftShort
	}
	if n < 0 {
		return 0, errors.New("has a number of more than 64 bits")
	}
	w.at += n
	return v, nil
}

func (w *thriftWalk) skip(n uint64) error {
	if n > uint64(len(w.b)-w.at) {
		return errThriftShort
	}
	w.at += int(n)
	return nil
}
