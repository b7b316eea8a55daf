package run

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"time"
)

// events writes the numbers of a run for TensorBoard: a TFRecord file of Event messages, whose few fields are encoded here by
// hand (tensorflow/core/util/event.proto and framework/summary.proto: the field numbers are the format).
type events struct{ file *os.File }

// openEvents begins a new event file, as each start of a run does, and says that steps from the given one on are written again,
// so that TensorBoard drops what an earlier process wrote of them.
func openEvents(dir string, step int64) (*events, error) {
	now := time.Now()
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	name := fmt.Sprintf("events.out.tfevents.%010d.%s.%d.%09d", now.Unix(), host, os.Getpid(), now.Nanosecond())
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	e := &events{file: f}
	const version, sessionLog, status, start = 3, 7, 1, 1
	first := appendTime(nil, now)
	first = appendBytes(first, version, []byte("brain.Event:2"))
	if err := e.record(first); err != nil {
		return nil, err
	}
	session := appendVarint(appendVarint(nil, status<<3), start)
	again := appendVarint(appendVarint(appendTime(nil, now), 2<<3), uint64(step))
	return e, e.record(appendBytes(again, sessionLog, session))
}

// scalars writes one event with a value for each field that is a finite number.
func (e *events) scalars(step int64, fields []Field) error {
	const summary, value, tag, simple = 5, 1, 1, 2
	var values []byte
	for _, f := range fields {
		v, ok := number(f.Value)
		if !ok {
			continue
		}
		one := appendBytes(nil, tag, []byte(f.Name))
		one = binary.LittleEndian.AppendUint32(append(one, simple<<3|5), math.Float32bits(float32(v)))
		values = appendBytes(values, value, one)
	}
	if len(values) == 0 {
		return nil
	}
	event := appendVarint(appendVarint(appendTime(nil, time.Now()), 2<<3), uint64(step))
	return e.record(appendBytes(event, summary, values))
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, v-v == 0
	case float32:
		return float64(v), v-v == 0
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// record writes one TFRecord: length, its masked checksum, the data, their masked checksum.
func (e *events) record(data []byte) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	b = binary.LittleEndian.AppendUint32(b, masked(b))
	b = append(b, data...)
	b = binary.LittleEndian.AppendUint32(b, masked(data))
	if _, err := e.file.Write(b); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

func masked(data []byte) uint32 {
	c := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return (c>>15 | c<<17) + 0xa282ead8
}

func (e *events) close() error { return e.file.Close() }

// appendTime appends field 1, the wall time in seconds as a double.
func appendTime(b []byte, t time.Time) []byte {
	return binary.LittleEndian.AppendUint64(append(b, 1<<3|1), math.Float64bits(float64(t.UnixNano())/1e9))
}

func appendVarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func appendBytes(b []byte, field uint64, data []byte) []byte {
	b = appendVarint(b, field<<3|2)
	return append(appendVarint(b, uint64(len(data))), data...)
}
