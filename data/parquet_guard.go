package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The library that reads Parquet allocates what a file claims: this file looks at the claims first.
const (
	maxFooter     = 256 << 20
	maxThriftDeep = 32      // of the footer's and headers' own structure, not of the columns
	maxColumns    = 100_000 // with groups
	maxColumnDeep = 64
	maxPageValues = 1 << 24
	maxPageBytes  = 1 << 30
	freePageBytes = 16 << 20 // what a page may unpack to whatever its packed size
	maxPageRatio  = 1 << 10  // unpacked to packed size beyond that
	pageHeaderCap = 4 << 20
)

// checkFooter looks at the metadata at the end of a Parquet file, and returns it.
func checkFooter(r io.ReaderAt, size int64) (*format.FileMetaData, error) {
	var tail [8]byte
	if size < 12 {
		return nil, fmt.Errorf("has %d bytes, too few for a Parquet file", size)
	}
	if _, err := r.ReadAt(tail[:], size-8); err != nil {
		return nil, err
	}
	if string(tail[4:]) != "PAR1" {
		return nil, fmt.Errorf("does not end with PAR1 (%q): not Parquet, encrypted, or cut off", tail[4:])
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > size-12 || n > maxFooter {
		return nil, fmt.Errorf("claims %d bytes of metadata, and has %d", n, size-12)
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-8-n); err != nil {
		return nil, err
	}
	if _, err := checkThrift(footer); err != nil {
		return nil, fmt.Errorf("the metadata is damaged: %w", err)
	}
	m := new(format.FileMetaData)
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), footer, m); err != nil {
		return nil, fmt.Errorf("the metadata is damaged: %w", err)
	}
	return m, checkSchema(m.Schema)
}

// checkSchema walks the flattened tree of columns.
func checkSchema(schema []format.SchemaElement) error {
	if len(schema) == 0 || len(schema) > maxColumns {
		return fmt.Errorf("has %d columns, want 1 to %d", len(schema), maxColumns)
	}
	var left []int32 // children still to come, from the root on
	for i, e := range schema {
		children := e.NumChildren.V
		if children < 0 || int(children) > len(schema)-i-1 {
			return fmt.Errorf("column %q claims %d columns inside it, %d follow", e.Name, children, len(schema)-i-1)
		}
		if i > 0 {
			if len(left) == 0 {
				return fmt.Errorf("column %q belongs to no group", e.Name)
			}
			left[len(left)-1]--
		}
		if left = append(left, children); len(left) > maxColumnDeep {
			return fmt.Errorf("columns are nested deeper than %d", maxColumnDeep)
		}
		for len(left) > 0 && left[len(left)-1] == 0 {
			left = left[:len(left)-1]
		}
	}
	if len(left) > 0 {
		return errors.New("columns are missing at the end of the schema")
	}
	return nil
}

// checkChunk walks the pages of one column of one row group.
func checkChunk(r io.ReaderAt, size int64, c *format.ColumnMetaData) error {
	start := c.DataPageOffset
	if d := c.DictionaryPageOffset; d > 0 && d < start {
		start = d
	}
	end := start + c.TotalCompressedSize
	if start < 4 || c.TotalCompressedSize < 0 || end < start || end > size {
		return fmt.Errorf("claims bytes %d to %d of %d", start, end, size)
	}
	for at := start; at < end; {
		h, n, err := pageHeader(r, at, end)
		if err != nil {
			return fmt.Errorf("page at byte %d: %w", at, err)
		}
		at += int64(n)
		if h.CompressedPageSize < 0 || int64(h.CompressedPageSize) > end-at {
			return fmt.Errorf("page at byte %d claims %d bytes of %d", at, h.CompressedPageSize, end-at)
		}
		if err := checkPage(io.NewSectionReader(r, at, int64(h.CompressedPageSize)), h, c.Codec); err != nil {
			return fmt.Errorf("page at byte %d: %w", at, err)
		}
		at += int64(h.CompressedPageSize)
	}
	return nil
}

// pageHeader reads one header and its length.
func pageHeader(r io.ReaderAt, at, end int64) (*format.PageHeader, int, error) {
	for _, window := range []int64{1 << 12, pageHeaderCap} {
		b := make([]byte, min(window, end-at))
		if _, err := r.ReadAt(b, at); err != nil {
			return nil, 0, err
		}
		n, err := checkThrift(b)
		if errors.Is(err, errThriftShort) && window < min(pageHeaderCap, end-at) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		h := new(format.PageHeader)
		return h, n, thrift.Unmarshal(new(thrift.CompactProtocol), b[:n], h)
	}
	return nil, 0, errThriftShort
}

// checkPage holds what a page claims to hold against its bytes.
func checkPage(body *io.SectionReader, h *format.PageHeader, codec format.CompressionCodec) error {
	count, plain := int64(0), int64(0)
	switch {
	case h.DataPageHeader.Valid:
		count = int64(h.DataPageHeader.V.NumValues)
	case h.DictionaryPageHeader.Valid:
		count = int64(h.DictionaryPageHeader.V.NumValues)
	case h.DataPageHeaderV2.Valid:
		v2 := h.DataPageHeaderV2.V
		count = int64(v2.NumValues)
		if plain = int64(v2.RepetitionLevelsByteLength) + int64(v2.DefinitionLevelsByteLength); v2.IsCompressed.Valid && !v2.IsCompressed.V {
			codec = format.Uncompressed
		}
	}
	packed, unpacked := body.Size(), int64(h.UncompressedPageSize)
	if count < 0 || count > maxPageValues || unpacked < 0 || unpacked > maxPageBytes || plain < 0 || plain > min(packed, unpacked) ||
		unpacked > freePageBytes && unpacked/maxPageRatio > packed {
		return fmt.Errorf("%d bytes claim to hold %d values of %d bytes", packed, count, unpacked)
	}
	if _, err := body.Seek(plain, io.SeekStart); err != nil {
		return err
	}
	return checkUnpacked(body, codec, packed-plain, unpacked-plain)
}

// checkUnpacked refuses packed bytes that hold more than the header claims.
func checkUnpacked(body io.Reader, codec format.CompressionCodec, packed, unpacked int64) error {
	head := make([]byte, min(packed, zstd.HeaderMaxSize))
	if codec == format.Snappy || codec == format.Zstd {
		if _, err := io.ReadFull(body, head); err != nil {
			return err
		}
	}
	whole := io.MultiReader(bytes.NewReader(head), body)
	switch codec {
	case format.Uncompressed, format.Lz4Raw: // at most 255 times as long
		return nil
	case format.Snappy:
		if n, k := binary.Uvarint(head); packed > 0 && (k <= 0 || n > uint64(unpacked)) {
			return fmt.Errorf("snappy of %d bytes, the header says %d", n, unpacked)
		}
		return nil
	case format.Gzip:
		z, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		return counted(z, unpacked)
	case format.Zstd:
		var h zstd.Header
		if err := h.Decode(head); err != nil || h.WindowSize > 128<<20 {
			return fmt.Errorf("zstd with a window of %d bytes: %w", h.WindowSize, err)
		}
		if h.HasFCS && h.FrameContentSize <= uint64(unpacked) {
			return nil // the decoder holds the frame to its size
		}
		z, err := zstd.NewReader(whole, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return err
		}
		defer z.Close()
		return counted(z, unpacked)
	}
	return fmt.Errorf("compressed with %v; want none, snappy, gzip, zstd or lz4_raw", codec)
}

// counted refuses a reader with more than n bytes.
func counted(r io.Reader, n int64) error {
	if m, err := io.Copy(io.Discard, io.LimitReader(r, n+1)); err != nil || m > n {
		return fmt.Errorf("unpacks to more than the %d bytes of its header, or not at all (%w)", n, err)
	}
	return nil
}
