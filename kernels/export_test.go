package kernels

// Reuse tells tests whether freed memory is kept.
const Reuse = reuse

// WithoutBF16 makes d a device that has no products in bf16, as one of CUDA is.
func WithoutBF16(d *Device) *Device {
	d.info.BF16 = 0
	return d
}
