package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxTries = 5               // in a row without a byte gained
	maxWait  = 5 * time.Minute // that a Retry-After may ask for
)

// again marks an error after which the request may be made again.
type again struct{ error }

// Unwrap gives the cause.
func (a again) Unwrap() error { return a.error }

// StatusError is a refusal by the hub.
type StatusError struct {
	Status  int    // of HTTP
	Message string // what it means and what to do
}

// Error is the message.
func (e *StatusError) Error() string { return e.Message }

// retry calls f until it succeeds, fails for good, or has failed maxTries times without progress. f reports progress by gained.
func (s *session) retry(ctx context.Context, f func() error) error {
	return s.retryGaining(ctx, func() (bool, error) { return false, f() })
}

func (s *session) retryGaining(ctx context.Context, f func() (gained bool, err error)) error {
	for tries := 1; ; tries++ {
		gained, err := f()
		var a again
		if err == nil || !errors.As(err, &a) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("hub: %s: %w", s.id, ctx.Err())
		}
		if gained {
			tries = 0
		}
		if tries >= maxTries {
			return fmt.Errorf("%w; gave up after %d tries", a.error, tries)
		}
		pause := time.Second << max(tries-1, 0)
		var busy *busyError
		if errors.As(err, &busy) && busy.after > 0 {
			pause = busy.after
		}
		if err := s.o.wait(ctx, pause); err != nil {
			return fmt.Errorf("hub: %s: %w", s.id, err)
		}
	}
}

// busyError is an answer that asks to come again later.
type busyError struct {
	StatusError
	after time.Duration
}

// get makes a request for the bytes of address from offset on. A status above 299 is an error; the body must be closed and the
// watch stopped.
func (s *session) get(ctx context.Context, address string, offset int64) (*http.Response, *watch, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := newWatch(ctx, cancel, s.o.Idle)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		w.stop()
		return nil, nil, fmt.Errorf("hub: %w", err)
	}
	req.Header.Set("User-Agent", "gor1")
	req.Header.Set("Accept-Encoding", "identity") // offsets and lengths are of the file
	if s.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.o.Token)
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := s.client.Do(req)
	if err != nil {
		w.stop()
		return nil, nil, again{w.explain(fmt.Errorf("hub: %w", err))}
	}
	if resp.StatusCode/100 != 2 {
		defer w.stop()
		defer resp.Body.Close()
		return nil, nil, s.refusal(resp)
	}
	w.r = resp.Body
	return resp, w, nil
}

// errRange is the answer 416: the offset is behind the end.
var errRange = errors.New("hub: 416 range not satisfiable")

// refusal says what a status means, and what to do about it.
func (s *session) refusal(resp *http.Response) error {
	code := resp.Header.Get("X-Error-Code")
	said := strings.ToValidUTF8(resp.Header.Get("X-Error-Message"), "?")
	if len(said) > 300 {
		said = said[:300]
	}
	fail := func(format string, args ...any) *StatusError {
		text := fmt.Sprintf("hub: %s %s: %d: ", s.o.Kind, s.id, resp.StatusCode) + fmt.Sprintf(format, args...)
		if said != "" {
			text += fmt.Sprintf(" (the hub says: %q)", said)
		}
		return &StatusError{resp.StatusCode, text}
	}
	token := "set HF_TOKEN to a token from " + s.o.Endpoint + "/settings/tokens"
	if s.o.Token != "" {
		token = "the token that was sent does not give access; look at HF_TOKEN and at " + s.o.Endpoint + "/settings/tokens"
	}
	switch status := resp.StatusCode; {
	case code == "GatedRepo":
		return fail("access must be asked for: accept the conditions at %s, and %s", s.page(), token)
	case code == "RevisionNotFound":
		return fail("there is no revision %q; see %s/tree/main", s.o.Revision, s.page())
	case status == http.StatusUnauthorized:
		return fail("it does not exist, or is not public: look at the spelling, and %s", token)
	case status == http.StatusForbidden:
		return fail("access is denied: see %s, and %s", s.page(), token)
	case status == http.StatusNotFound:
		return fail("not found: look at the spelling at %s; if it is not public, %s", s.page(), token)
	case status == http.StatusRequestedRangeNotSatisfiable:
		return errRange
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500:
		after, err := retryAfter(resp.Header.Get("Retry-After"), time.Now())
		if err != nil {
			return fail("%v", err)
		}
		return again{&busyError{*fail("the hub is busy or broken; try again later"), after}}
	}
	return fail("an answer that is not expected; is %s a hub?", s.o.Endpoint)
}

// Unwrap gives the refusal.
func (e *busyError) Unwrap() error { return &e.StatusError }

// retryAfter reads seconds or a date; 0 where there is none.
func retryAfter(v string, now time.Time) (time.Duration, error) {
	d := time.Duration(0)
	if n, err := strconv.ParseInt(v, 10, 32); err == nil && n > 0 {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = max(at.Sub(now), 0)
	}
	if d > maxWait {
		return 0, fmt.Errorf("the hub asks to wait %v; try again then", d.Round(time.Second))
	}
	return d, nil
}

// watch reads a body and ends the request when nothing has come for a while.
type watch struct {
	r      io.Reader
	idle   time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
	ctx    context.Context
}

var errIdle = errors.New("nothing came for too long")

func newWatch(ctx context.Context, cancel context.CancelCauseFunc, idle time.Duration) *watch {
	return &watch{idle: idle, cancel: cancel, ctx: ctx, timer: time.AfterFunc(idle, func() { cancel(errIdle) })}
}

// Read reads the body.
func (w *watch) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.timer.Reset(w.idle)
	}
	return n, err
}

// explain names the silence where it is the cause.
func (w *watch) explain(err error) error {
	if errors.Is(context.Cause(w.ctx), errIdle) {
		return fmt.Errorf("hub: nothing came for %v: %w", w.idle, err)
	}
	return err
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}
