package kernels

// Reuse tells tests whether freed memory is kept.
const Reuse = reuse
