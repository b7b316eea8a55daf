package bench

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gor1/gor1/kernels"
)

// Kinds are the names of what [Cases] makes.
func Kinds() []string {
	return []string{"gemm", "attention", "decode", "prefill", "train", "step", "adamw"}
}

// Cases are the cases of a kind for a shape and a load; rows are a product's. The error is [ErrUnknown] for a name that is not known. The
// caller closes them with [CloseAll].
func Cases(dev *kernels.Device, kind, shape string, rows []int, l Load) ([]Case, error) {
	c, err := Shape(shape, max(1, l.Prompt+l.New))
	if err != nil {
		return nil, err
	}
	switch kind {
	case "gemm":
		return GEMM(dev, c, rows, l.BF16)
	case "attention":
		return Attention(dev, c, l.Batch, l.Prompt)
	case "adamw":
		return AdamW(dev, c)
	case "decode":
		return Decode(dev, shape, l)
	case "prefill":
		return Prefill(dev, shape, l)
	case "train":
		return Train(dev, shape, l)
	case "step":
		return Step(dev, shape, l)
	}
	return nil, fmt.Errorf("%w: no benchmark %q; known are %s", ErrUnknown, kind, strings.Join(slices.Sorted(slices.Values(Kinds())), ", "))
}
