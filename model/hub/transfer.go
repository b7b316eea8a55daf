package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// newHash starts the hash that names the content: SHA-256 of large files, git's SHA-1 of a blob (with its length) of others.
func (e entry) newHash() hash.Hash {
	if e.SHA256 != "" {
		return sha256.New()
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", e.Size)
	return h
}

// fetchBlob makes sure that the content of a file is in the cache, verified. It resumes what an earlier run, of this program or an
// older huggingface_hub, has left as ETAG.incomplete. The caller holds the lock.
func (s *session) fetchBlob(ctx context.Context, c store, commit, name string, e entry, bar *bar) (fresh bool, err error) {
	blob := c.blob(e.etag())
	if whole(blob, e.bytes()) {
		bar.add(name, e.bytes())
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
		return false, fmt.Errorf("hub: %w", err)
	}
	f, err := os.OpenFile(blob+".incomplete", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return false, fmt.Errorf("hub: %w", err)
	}
	p := &partial{s: s, f: f, name: name, address: s.file(commit, name), e: e, bar: bar}
	err = p.fetch(ctx)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	if err := os.Rename(f.Name(), blob); err != nil {
		return false, fmt.Errorf("hub: %w", err)
	}
	return true, nil
}

// partial is a file that is being fetched.
type partial struct {
	s             *session
	f             *os.File
	name, address string
	e             entry
	h             hash.Hash
	have          int64 // bytes in f and in h
	bar           *bar
}

// fetch gets what is missing and verifies the whole. Where a resumed file turns out wrong it is fetched once more from the start.
func (p *partial) fetch(ctx context.Context) error {
	if err := p.resume(); err != nil {
		return err
	}
	resumed := p.have > 0
	for {
		if err := p.s.retryGaining(ctx, func() (bool, error) { return p.part(ctx) }); err != nil {
			return err
		}
		sum := fmt.Sprintf("%x", p.h.Sum(nil))
		if sum == p.e.etag() {
			return nil
		}
		if err := p.restart(); err != nil {
			return err
		}
		if !resumed {
			return fmt.Errorf("hub: %s of %s: the content has the hash %s, the hub lists %s; it was damaged on the way or has been tampered with, and was removed: try again", p.name, p.s.id, sum, p.e.etag())
		}
		resumed = false
	}
}

// resume takes over what is there.
func (p *partial) resume() error {
	p.h = p.e.newHash()
	n, err := io.Copy(p.h, io.LimitReader(p.f, p.e.bytes()+1))
	if err != nil {
		return fmt.Errorf("hub: %s: %w", p.f.Name(), err)
	}
	if n > p.e.bytes() {
		return p.restart()
	}
	p.have = n
	p.bar.add(p.name, n)
	return nil
}

// restart throws away what is there.
func (p *partial) restart() error {
	p.bar.add(p.name, -p.have)
	p.have, p.h = 0, p.e.newHash()
	if err := p.f.Truncate(0); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	_, err := p.f.Seek(0, io.SeekStart)
	return err
}

// part makes one request for the rest; gained says whether it brought anything.
func (p *partial) part(ctx context.Context) (gained bool, err error) {
	if p.have == p.e.bytes() {
		return false, nil
	}
	resp, w, err := p.s.get(ctx, p.address, p.have)
	if errors.Is(err, errRange) && p.have > 0 {
		if err := p.restart(); err != nil {
			return false, err
		}
		return false, again{fmt.Errorf("hub: %s of %s: the server cannot go on in the middle", p.name, p.s.id)}
	}
	if err != nil {
		return false, err
	}
	defer w.stop()
	defer resp.Body.Close()
	if err := p.position(resp); err != nil {
		return false, err
	}
	before := p.have
	err = p.copy(w)
	return p.have > before, err
}

// position makes sure that the answer begins where the file ends.
func (p *partial) position(resp *http.Response) error {
	if resp.StatusCode == http.StatusPartialContent {
		var from, to, total int64
		header := resp.Header.Get("Content-Range")
		if n, err := fmt.Sscanf(header, "bytes %d-%d/%d", &from, &to, &total); n < 2 || n == 2 && !strings.HasSuffix(header, "/*") || from != p.have || n == 3 && total != p.e.bytes() {
			return fmt.Errorf("hub: %s of %s: asked for bytes from %d of %d, the server sends %q (%v)", p.name, p.s.id, p.have, p.e.bytes(), header, err)
		}
		return nil
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("hub: %s of %s: the server answers %s to a request for a file", p.name, p.s.id, resp.Status)
	}
	if p.have > 0 { // it sends the whole file again
		if err := p.restart(); err != nil {
			return err
		}
	}
	if resp.ContentLength >= 0 && resp.ContentLength != p.e.bytes() {
		return fmt.Errorf("hub: %s of %s: the server sends %d bytes, the hub lists %d; is the endpoint a hub, or a proxy with a page of its own?", p.name, p.s.id, resp.ContentLength, p.e.bytes())
	}
	return nil
}

// copy appends the body.
func (p *partial) copy(w *watch) error {
	buf := make([]byte, 1<<17)
	for {
		n, err := w.Read(buf)
		if int64(n) > p.e.bytes()-p.have {
			return errors.Join(fmt.Errorf("hub: %s of %s: the server sends more than the %d bytes that the hub lists", p.name, p.s.id, p.e.bytes()), p.restart())
		}
		if n > 0 {
			if _, err := p.f.Write(buf[:n]); err != nil {
				return fmt.Errorf("hub: %w; %d bytes of %s are still to come", err, p.e.bytes()-p.have, p.name)
			}
			p.h.Write(buf[:n])
			p.have += int64(n)
			p.bar.add(p.name, int64(n))
		}
		switch {
		case p.have == p.e.bytes() && (err == nil || errors.Is(err, io.EOF)):
			if err == nil {
				continue // look whether more follows
			}
			return nil
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
			fallthrough
		case err != nil:
			return again{w.explain(fmt.Errorf("hub: %s of %s: the connection ended after %d of %d bytes: %w", p.name, p.s.id, p.have, p.e.bytes(), err))}
		}
	}
}
