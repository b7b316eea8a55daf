// Package traces collects a teacher's reasoning and answers from any OpenAI-compatible server, for supervised fine-tuning of a student.
// What is paid for is kept: each accepted answer is on disk before the next thing happens, no question that has an answer is asked again, and
// a reply that is anything but one whole answer is refused whole.
package traces

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gor1/gor1/reward/remote"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Question is what the teacher is asked.
type Question struct {
	ID       string // the data set's name of it, for the rows that are written
	Messages []Message
	Sample   int // tells several answers to the same messages apart
}

// Answer is one whole reply.
type Answer struct {
	Reasoning string `json:"reasoning,omitempty"`
	Content   string `json:"content"`
	Model     string `json:"model"`            // as the server names it
	Tokens    int    `json:"tokens,omitempty"` // of the reply, its reasoning included; 0: the server did not say
}

// Completion is the answer as R1's models write it: <think>, the reasoning, </think>, the content; the content alone without reasoning.
func (a Answer) Completion() string {
	if a.Reasoning == "" {
		return a.Content
	}
	return "<think>\n" + a.Reasoning + "\n</think>\n\n" + a.Content
}

// Config says which teacher is asked, and how.
type Config struct {
	URL       string         // of the server's chat completions: https://api.deepseek.com/chat/completions, http://localhost:8000/v1/chat/completions
	Key       string         // sent as a bearer token; may be empty. It is in no error and in no file
	Model     string         // name the server knows it by, e.g. deepseek-reasoner
	Names     []string       // further names that replies may bear; one that begins with Model is always taken (a date follows, as a rule)
	MaxTokens int            // of a reply; 0: the server's own limit
	Options   map[string]any // further fields of the request: {"temperature": 0.6}
	Reasoning bool           // refuse answers without reasoning
	Stream    bool           // ask for a stream of events, which keeps long replies alive through proxies
	Client    *http.Client   // whose transport is used; nil: the default one
	Limits    remote.Limits  // zero fields: 30 minutes an attempt, 5 without a byte, 6 attempts, 10 minutes' wait at most, 16 MiB a reply
}

// Teacher asks one model. It is safe from any number of goroutines.
type Teacher struct {
	config Config
	client *remote.Client

	mu       sync.Mutex
	rejected map[string]int
}

// Rejected is the error of a reply that was not one whole answer.
type Rejected struct {
	Reason string // in two or three words, for counts
	Detail string
}

// Error says what was wrong with the reply.
func (r Rejected) Error() string {
	return strings.TrimSuffix("the reply was rejected: "+r.Reason+": "+r.Detail, ": ")
}

// New checks the configuration; it asks nothing yet.
func New(c Config) (*Teacher, error) {
	if c.Model == "" || c.MaxTokens < 0 {
		return nil, fmt.Errorf("traces: model %q and %d tokens: want a name and 0 or more", c.Model, c.MaxTokens)
	}
	for _, name := range []string{"model", "messages", "max_tokens", "stream", "n"} {
		if _, ok := c.Options[name]; ok {
			return nil, fmt.Errorf("traces: options: %s is set by its own field, or always the same", name)
		}
	}
	l := &c.Limits
	for value, standard := range map[*time.Duration]time.Duration{&l.Timeout: 30 * time.Minute, &l.Idle: 5 * time.Minute, &l.MaxWait: 10 * time.Minute} {
		if *value == 0 {
			*value = standard
		}
	}
	if l.Attempts == 0 {
		l.Attempts = 6
	}
	if l.MaxBody == 0 {
		l.MaxBody = 16 << 20
	}
	client, err := remote.NewClient(c.URL, c.Key, c.Client, c.Limits)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return &Teacher{config: c, client: client, rejected: map[string]int{}}, nil
}

// Requests is how many were sent so far.
func (t *Teacher) Requests() int64 { return t.client.Asked() }

// RejectedReplies are those refused so far, by reason.
func (t *Teacher) RejectedReplies() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.rejected)
}

// request is the body that asks q.
func (t *Teacher) request(q Question) map[string]any {
	body := map[string]any{"model": t.config.Model, "messages": q.Messages}
	if t.config.MaxTokens > 0 {
		body["max_tokens"] = t.config.MaxTokens
	}
	maps.Copy(body, t.config.Options)
	return body
}

// Key names a question asked of this teacher: a hash of all that its answer depends on, and of its sample's number.
func (t *Teacher) Key(q Question) (string, error) {
	text, err := json.Marshal([]any{t.request(q), q.Sample}) // keys of maps are sorted
	if err != nil {
		return "", fmt.Errorf("traces: question %s: %w", q.ID, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// Ask asks until the reply is one whole answer or the limits are reached. The error of a question whose last reply was refused wraps
// [Rejected].
func (t *Teacher) Ask(ctx context.Context, q Question) (Answer, error) {
	if len(q.Messages) == 0 {
		return Answer{}, fmt.Errorf("traces: question %s has no messages", q.ID)
	}
	request := t.request(q)
	if t.config.Stream {
		request["stream"], request["stream_options"] = true, map[string]any{"include_usage": true}
	}
	body, err := json.Marshal(request)
	if err != nil {
		return Answer{}, fmt.Errorf("traces: question %s: %w", q.ID, err)
	}
	var a Answer
	err = t.client.Post(ctx, "application/json", body, func(reply []byte) error {
		var err error
		if a, err = t.accept(reply); err != nil {
			var r Rejected
			if errors.As(err, &r) {
				t.mu.Lock()
				t.rejected[r.Reason]++
				t.mu.Unlock()
			}
		}
		return err
	})
	if err != nil {
		return Answer{}, fmt.Errorf("traces: question %s: %w", q.ID, err)
	}
	return a, nil
}

// accept reads a reply and holds it against what was asked for.
func (t *Teacher) accept(reply []byte) (Answer, error) {
	a, err := parse(reply)
	switch {
	case err != nil:
		return Answer{}, err
	case !strings.HasPrefix(a.Model, t.config.Model) && !slices.Contains(t.config.Names, a.Model):
		return Answer{}, Rejected{"wrong model", fmt.Sprintf("it is from %.80q, asked was %q", a.Model, t.config.Model)}
	case t.config.Reasoning && strings.TrimSpace(a.Reasoning) == "":
		return Answer{}, Rejected{"no reasoning", ""}
	case t.config.Key != "" && strings.Contains(a.Reasoning+"\x00"+a.Content, t.config.Key):
		return Answer{}, Rejected{"it repeats the key", ""}
	}
	return a, nil
}
