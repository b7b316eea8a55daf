// Package remote asks rewards of other programs: a language model that judges ([Judge]), a server ([HTTP]) or a program that stays
// up ([Command]). A sample that got no clear answer is not scored.
package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Limits bound what is asked of a server. The zero value of a field is its default.
type Limits struct {
	Timeout  time.Duration // of one attempt, from connecting to the last byte; default 60 s
	Idle     time.Duration // without a byte of the reply, its head included; default 30 s
	Attempts int           // for one question, the first included; default 4
	Pause    time.Duration // before the second attempt where the server asks for none; doubled before each further one; default 0.5 s
	MaxWait  time.Duration // longest pause between attempts, a Retry-After included: a server that asks for more is given up; default 60 s
	Budget   int64         // requests in all, over the life of the value; default 0: no limit
	MaxBody  int64         // bytes of a reply; default 1 MiB
}

func (l Limits) withDefaults() (Limits, error) {
	if l.Timeout < 0 || l.Idle < 0 || l.Attempts < 0 || l.Pause < 0 || l.MaxWait < 0 || l.Budget < 0 || l.MaxBody < 0 {
		return l, fmt.Errorf("remote: limits %+v: a limit below 0", l)
	}
	if l.Timeout == 0 {
		l.Timeout = time.Minute
	}
	if l.Idle == 0 {
		l.Idle = 30 * time.Second
	}
	if l.Attempts == 0 {
		l.Attempts = 4
	}
	if l.Pause == 0 {
		l.Pause = time.Second / 2
	}
	if l.MaxWait == 0 {
		l.MaxWait = time.Minute
	}
	if l.MaxBody == 0 {
		l.MaxBody = 1 << 20
	}
	return l, nil
}

// ErrBudget is wrapped by the error of a question that the budget of requests does not cover.
var ErrBudget = errors.New("the budget of requests is spent")

// Client posts with retries; it is what this package's rewards ask through. Its key is in no error, it follows no redirect, and it is safe
// from any number of goroutines.
type Client struct {
	address, key string
	http         *http.Client
	limits       Limits
	asked        atomic.Int64 // requests sent
}

// NewClient returns a client of one address; key, if any, is sent as a bearer token. Of h only the transport is used; nil: the default one.
func NewClient(address, key string, h *http.Client, l Limits) (*Client, error) {
	l, err := l.withDefaults()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		return nil, errors.New("remote: the address must begin with http:// or https://")
	}
	if strings.ContainsAny(key, "\r\n") {
		return nil, errors.New("remote: the key holds a line break")
	}
	own := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // a key is for one server
	if h != nil {
		own.Transport = h.Transport
	}
	return &Client{address: address, key: key, http: &own, limits: l}, nil
}

// Asked is how many requests were sent so far, retries included.
func (c *Client) Asked() int64 { return c.asked.Load() }

// Refused is an error that no further attempt will better.
type Refused struct {
	Code int // of HTTP's reply; 0: there was none
	error
}

// Unwrap returns what it wraps.
func (r Refused) Unwrap() error { return r.error }

// Post sends body and hands the reply to accept, until accept takes one, an error is final, or the limits are reached. What accept refuses is
// asked again, as is a lost connection, a time-out and the codes 408, 425, 429 and 5xx.
func (c *Client) Post(ctx context.Context, contentType string, body []byte, accept func(reply []byte) error) error {
	var last error
	for attempt := range c.limits.Attempts {
		if n := c.asked.Add(1); c.limits.Budget > 0 && n > c.limits.Budget {
			c.asked.Add(-1)
			return c.clean(errors.Join(fmt.Errorf("remote: %w (%d)", ErrBudget, c.limits.Budget), last))
		}
		wait, err := c.once(ctx, contentType, body, accept)
		if err == nil {
			return nil
		}
		last = err
		var final Refused
		if errors.As(err, &final) || attempt+1 == c.limits.Attempts {
			break
		}
		if wait == 0 { // 1, 2, 4, .. times the pause, between half and the whole of it
			wait = min(c.limits.Pause<<min(attempt, 20), c.limits.MaxWait)
			wait = wait/2 + rand.N(wait/2+1)
		}
		if wait > c.limits.MaxWait {
			last = fmt.Errorf("%w; the server asks to wait %v, more than %v", err, wait, c.limits.MaxWait)
			break
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			last = fmt.Errorf("%w; %v to wait, more than is left", err, wait)
			break
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return c.clean(errors.Join(ctx.Err(), last))
		}
	}
	return c.clean(last)
}

// once makes one attempt; wait is what the server asks for, 0 where it does not.
func (c *Client) once(ctx context.Context, contentType string, body []byte, accept func(reply []byte) error) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Timeout)
	defer cancel()
	idle := time.AfterFunc(c.limits.Idle, cancel)
	defer idle.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address, bytes.NewReader(body))
	if err != nil {
		return 0, Refused{0, fmt.Errorf("remote: %w", err)}
	}
	req.Header.Set("Content-Type", contentType)
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var where *url.Error
		if errors.As(err, &where) { // without the address, which may hold a secret
			err = where.Err
		}
		return 0, fmt.Errorf("remote: no reply from %s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(lively{resp.Body, idle, c.limits.Idle}, c.limits.MaxBody+1))
	switch code := resp.StatusCode; {
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests || code >= 500:
		return retryAfter(resp.Header.Get("Retry-After")), fmt.Errorf("remote: the server answered %s", resp.Status)
	case code != http.StatusOK:
		return 0, Refused{code, fmt.Errorf("remote: the server answered %s: %s", resp.Status, excerpt(reply))}
	case err != nil:
		return 0, fmt.Errorf("remote: the reply broke off: %w", err)
	case int64(len(reply)) > c.limits.MaxBody:
		return 0, fmt.Errorf("remote: a reply of more than %d bytes", c.limits.MaxBody)
	}
	if err := accept(reply); err != nil {
		return 0, fmt.Errorf("remote: %w", err)
	}
	return 0, nil
}

// lively puts the idle limit off at each byte.
type lively struct {
	io.Reader
	timer *time.Timer
	idle  time.Duration
}

func (l lively) Read(b []byte) (int, error) {
	n, err := l.Reader.Read(b)
	if n > 0 {
		l.timer.Reset(l.idle)
	}
	return n, err
}

// retryAfter reads the header's two forms, seconds and a date.
func retryAfter(h string) time.Duration {
	if s, err := strconv.ParseUint(h, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(h); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// clean keeps the key out of an error, whoever wrote it there.
func (c *Client) clean(err error) error {
	if err == nil || c.key == "" || !strings.Contains(err.Error(), c.key) {
		return err
	}
	cleaned := errors.New(strings.ReplaceAll(err.Error(), c.key, "[key]"))
	var final Refused
	if errors.As(err, &final) {
		return Refused{final.Code, cleaned}
	}
	for _, known := range []error{ErrBudget, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return fmt.Errorf("%w: %w", known, cleaned)
		}
	}
	return cleaned
}

// excerpt is the start of a reply, on one line, without control characters.
func excerpt(reply []byte) string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(reply[:min(len(reply), 200)]), "")), " ")
	return strconv.QuoteToGraphic(s)
}
