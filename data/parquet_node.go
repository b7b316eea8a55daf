package data

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// node is one element of a schema.
type node struct {
	name        string
	optional    bool
	repeated    bool
	kind        nodeKind
	def, rep    int // the levels at which its value is there, at which it repeats
	first, last int // its columns: leaves[first:last]
	children    []*node
}

type nodeKind int

const (
	structNode nodeKind = iota
	listNode            // a group around one repeated element
	mapNode             // a group around repeated pairs of a text and a value
	leafNode
)

// newNode describes the first element of a flattened schema and what is inside it, appends the columns that hold values to leaves,
// and returns the elements behind it. checkSchema has passed the schema.
func newNode(path string, schema []format.SchemaElement, above *node, leaves *[]*leaf) (*node, []format.SchemaElement, error) {
	e := schema[0]
	n := &node{name: e.Name, first: len(*leaves)}
	if above != nil { // the root is neither
		path += e.Name
		n.def, n.rep = above.def, above.rep
		n.optional, n.repeated = e.RepetitionType.V == format.Optional, e.RepetitionType.V == format.Repeated
	}
	if n.optional || n.repeated {
		n.def++
	}
	if n.repeated {
		n.rep++
	}
	schema = schema[1:]
	if e.Type.Valid {
		n.kind = leafNode
		convert, err := converter(e)
		if err != nil {
			return nil, nil, fmt.Errorf("column %s: %w", path, err)
		}
		*leaves = append(*leaves, &leaf{name: path, convert: convert})
		n.last = len(*leaves)
		return n, schema, nil
	}
	if above != nil {
		path += "."
	}
	names := map[string]bool{}
	for range e.NumChildren.V {
		inner, rest, err := newNode(path, schema, n, leaves)
		if err != nil {
			return nil, nil, err
		}
		if names[inner.name] {
			return nil, nil, fmt.Errorf("column %s%s occurs twice", path, inner.name)
		}
		names[inner.name] = true
		n.children = append(n.children, inner)
		schema = rest
	}
	if n.last = len(*leaves); n.first == n.last {
		return nil, nil, fmt.Errorf("group %q has no columns", path)
	}
	n.kind = groupKind(e, n)
	return n, schema, nil
}

// groupKind says what a group is by its annotation. A list's element is the only child of the repeated group, or, in old files, the
// repeated column itself. https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#nested-types
func groupKind(e format.SchemaElement, n *node) nodeKind {
	if len(n.children) != 1 || !n.children[0].repeated {
		return structNode
	}
	_, list := e.LogicalType.Value.(*format.ListType)
	_, pairs := e.LogicalType.Value.(*format.MapType)
	if e.LogicalType.Value == nil && e.ConvertedType.Valid {
		c := e.ConvertedType.V
		list, pairs = c == deprecated.List, c == deprecated.Map || c == deprecated.MapKeyValue
	}
	inner := n.children[0]
	switch {
	case pairs && len(inner.children) == 2:
		return mapNode
	case list && inner.kind == structNode && len(inner.children) == 1 && inner.name != "array" && inner.name != n.name+"_tuple":
		inner.kind = listNode // read as its only child
		return listNode
	case list:
		return listNode
	}
	return structNode
}

// read puts together the next value of a node. rep is the repetition level at which it may begin.
func (n *node) read(leaves []*leaf, rep int) (any, error) {
	if !n.optional && !n.repeated {
		return n.value(leaves, rep)
	}
	there, err := n.agree(leaves, func(v *parquet.Value) (bool, error) {
		if v.RepetitionLevel() > rep {
			return false, errors.New("repeats where a value must begin")
		}
		return v.DefinitionLevel() >= n.def, nil
	})
	if err != nil {
		return nil, err
	}
	if !there {
		for _, l := range leaves[n.first:n.last] {
			l.at++
		}
		if n.repeated {
			return []any{}, nil
		}
		return nil, nil
	}
	if !n.repeated {
		return n.value(leaves, rep)
	}
	list := []any{}
	for more := true; more; {
		v, err := n.value(leaves, max(rep, n.rep))
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		more, err = n.agree(leaves, func(v *parquet.Value) (bool, error) { return v.RepetitionLevel() == n.rep, nil })
		if err != nil && !errors.Is(err, errColumnEnd) {
			return nil, err
		}
	}
	return list, nil
}

// agree asks the next value of each column of the node, which must give one answer.
func (n *node) agree(leaves []*leaf, ask func(*parquet.Value) (bool, error)) (bool, error) {
	var answer bool
	var ended error
	for i, l := range leaves[n.first:n.last] {
		v, err := l.peek()
		yes := false
		if err == nil {
			yes, err = ask(v)
		}
		if errors.Is(err, errColumnEnd) {
			ended = fmt.Errorf("column %s: %w", l.name, err)
		} else if err != nil {
			return false, fmt.Errorf("column %s: %w", l.name, err)
		}
		if i > 0 && yes != answer {
			return false, fmt.Errorf("columns %s and %s disagree about where %s is", leaves[n.first].name, l.name, n.name)
		}
		answer = yes
	}
	return answer, ended
}

// value reads a node that is known to be there.
func (n *node) value(leaves []*leaf, rep int) (any, error) {
	switch n.kind {
	case leafNode:
		l := leaves[n.first]
		v, err := l.peek()
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", l.name, err)
		}
		if v.RepetitionLevel() > rep || v.DefinitionLevel() < n.def {
			return nil, fmt.Errorf("column %s has a value that does not belong to its row", l.name)
		}
		out, err := l.convert(*v)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", l.name, err)
		}
		l.at++
		return out, nil
	case listNode:
		return n.children[0].read(leaves, rep)
	case mapNode:
		v, err := n.children[0].read(leaves, rep)
		if err != nil {
			return nil, err
		}
		return pairs(n.name, v.([]any))
	}
	o := make(Object, len(n.children))
	for i, c := range n.children {
		v, err := c.read(leaves, rep)
		if err != nil {
			return nil, err
		}
		o[i] = Field{c.name, v}
	}
	return o, nil
}

// pairs makes an object of a map's entries. A map whose keys are no texts stays a list of entries.
func pairs(name string, entries []any) (any, error) {
	o := Object{}
	seen := map[string]bool{}
	for _, e := range entries {
		pair := e.(Object)
		key, ok := pair[0].Value.(string)
		if !ok {
			return entries, nil
		}
		if seen[key] {
			return nil, fmt.Errorf("the map %s has the key %q twice", name, key)
		}
		seen[key] = true
		o = append(o, Field{key, pair[1].Value})
	}
	return o, nil
}

// converter makes the function that turns a column's stored values into those of a Field.
func converter(e format.SchemaElement) (func(parquet.Value) (any, error), error) {
	logical := any(e.LogicalType.Value)
	converted := deprecated.ConvertedType(-1)
	if e.ConvertedType.Valid && e.LogicalType.Value == nil {
		converted = e.ConvertedType.V
	}
	if converted == deprecated.Decimal {
		logical = &format.DecimalType{Scale: e.Scale.V}
	}
	if _, null := logical.(*format.NullType); null { // a column of nothing but nulls
		return func(parquet.Value) (any, error) { return nil, nil }, nil
	}
	switch e.Type.V {
	case format.Boolean:
		return func(v parquet.Value) (any, error) { return v.Boolean(), nil }, nil
	case format.Float:
		return func(v parquet.Value) (any, error) { return float64(v.Float()), nil }, nil
	case format.Double:
		return func(v parquet.Value) (any, error) { return v.Double(), nil }, nil
	case format.Int32:
		return integers(logical, converted, func(v parquet.Value) int64 { return int64(v.Int32()) }, 32), nil
	case format.Int64:
		return integers(logical, converted, parquet.Value.Int64, 64), nil
	case format.Int96: // nanoseconds of a Julian day, as old Spark and Hive write times
		return func(v parquet.Value) (any, error) {
			w := v.Int96()
			return time.Unix((int64(w[2])-2440588)*86400, int64(w[0])|int64(w[1])<<32).UTC(), nil
		}, nil
	case format.ByteArray, format.FixedLenByteArray:
		return texts(logical, converted), nil
	}
	return nil, fmt.Errorf("is of the unknown type %v", e.Type.V)
}

// integers converts by annotation: dates, times, decimals, unsigned numbers.
func integers(logical any, converted deprecated.ConvertedType, get func(parquet.Value) int64, bits int) func(parquet.Value) (any, error) {
	since := func(unit time.Duration) func(parquet.Value) (any, error) {
		per := int64(time.Second / unit)
		return func(v parquet.Value) (any, error) {
			n := get(v)
			s, rest := n/per, n%per
			return time.Unix(s, rest*int64(unit)).UTC(), nil
		}
	}
	date := func(v parquet.Value) (any, error) { return time.Unix(get(v)*86400, 0).UTC(), nil }
	unsigned := func(v parquet.Value) (any, error) {
		n := uint64(get(v)) << (64 - bits) >> (64 - bits)
		if n > math.MaxInt64 {
			return json.Number(strconv.FormatUint(n, 10)), nil
		}
		return int64(n), nil
	}
	switch l := logical.(type) {
	case *format.DateType:
		return date
	case *format.TimestampType:
		if l.Unit.Value != nil {
			return since(l.Unit.Value.Duration())
		}
	case *format.DecimalType:
		return func(v parquet.Value) (any, error) { return decimal(big.NewInt(get(v)), l.Scale) }
	case *format.IntType:
		if !l.IsSigned {
			return unsigned
		}
	}
	switch converted {
	case deprecated.Date:
		return date
	case deprecated.TimestampMillis:
		return since(time.Millisecond)
	case deprecated.TimestampMicros:
		return since(time.Microsecond)
	case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
		return unsigned
	}
	return func(v parquet.Value) (any, error) { return get(v), nil }
}

// texts converts bytes by annotation: text, decimals, half floats, UUIDs; others stay bytes.
func texts(logical any, converted deprecated.ConvertedType) func(parquet.Value) (any, error) {
	switch l := logical.(type) {
	case *format.StringType, *format.EnumType, *format.JsonType:
		return text
	case *format.DecimalType:
		return func(v parquet.Value) (any, error) {
			b := v.ByteArray()
			n := new(big.Int).SetBytes(b)
			if len(b) > 0 && b[0]&0x80 != 0 {
				n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
			}
			return decimal(n, l.Scale)
		}
	case *format.Float16Type:
		return sized(2, func(b []byte) any { return half(binary.LittleEndian.Uint16(b)) })
	case *format.UUIDType:
		return sized(16, func(b []byte) any {
			return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
		})
	}
	if converted == deprecated.UTF8 || converted == deprecated.Enum || converted == deprecated.Json {
		return text
	}
	return func(v parquet.Value) (any, error) { return append([]byte{}, v.ByteArray()...), nil }
}

// sized converts values of n bytes.
func sized(n int, convert func([]byte) any) func(parquet.Value) (any, error) {
	return func(v parquet.Value) (any, error) {
		b := v.ByteArray()
		if len(b) != n {
			return nil, fmt.Errorf("a value has %d bytes, want %d", len(b), n)
		}
		return convert(b), nil
	}
}

func text(v parquet.Value) (any, error) {
	b := v.ByteArray()
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("a text is not UTF-8 at its byte %d", invalidAt(b))
	}
	return string(b), nil
}

// decimal writes n / 10^scale with all its digits.
func decimal(n *big.Int, scale int32) (any, error) {
	if scale < 0 || scale > 1000 {
		return nil, fmt.Errorf("a decimal with %d digits behind the point", scale)
	}
	digits := new(big.Int).Abs(n).String()
	if pad := int(scale) + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	if scale > 0 {
		digits = digits[:len(digits)-int(scale)] + "." + digits[len(digits)-int(scale):]
	}
	if n.Sign() < 0 {
		digits = "-" + digits
	}
	return json.Number(digits), nil
}

// half widens an IEEE half-precision number.
func half(h uint16) float64 {
	exp, frac := int(h>>10&31), float64(h&1023)
	v := math.Ldexp(1024+frac, exp-25)
	switch {
	case exp == 0:
		v = math.Ldexp(frac, -24)
	case exp == 31 && frac == 0:
		v = math.Inf(1)
	case exp == 31:
		v = math.NaN()
	}
	if h>>15 == 1 {
		v = -v
	}
	return v
}
