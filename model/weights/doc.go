// Package weights reads and writes model files. It is pure Go and trusts nothing a file says.
package weights
