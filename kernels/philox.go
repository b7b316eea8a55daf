package kernels

import "math/bits"

// Philox is Philox-4x32-10 (Salmon et al., SC 2011): four random words from a key and a counter, and nothing else. It is the
// plain twin of the sampler's generator.
func Philox(key [2]uint32, counter [4]uint32) [4]uint32 {
	for range 10 {
		hi0, lo0 := bits.Mul32(0xD2511F53, counter[0])
		hi1, lo1 := bits.Mul32(0xCD9E8D57, counter[2])
		counter = [4]uint32{hi1 ^ counter[1] ^ key[0], lo1, hi0 ^ counter[3] ^ key[1], lo0}
		key[0] += 0x9E3779B9
		key[1] += 0xBB67AE85
	}
	return counter
}

// Uniform is the number in [0, 1) that a draw with this key and counter uses: the first two words' top 53 bits.
func Uniform(key [2]uint32, counter [4]uint32) float64 {
	o := Philox(key, counter)
	return (float64(o[0]>>5)*(1<<26) + float64(o[1]>>6)) / (1 << 53)
}
