package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gor1/gor1/reward"
)

// row is what a sample is to another program: one line of JSON.
type row struct {
	ID         string         `json:"id"`
	Prompt     string         `json:"prompt"`
	Completion string         `json:"completion"`
	Answer     string         `json:"answer"`
	Truncated  bool           `json:"truncated"`
	IDs        []int32        `json:"ids"`
	Columns    map[string]any `json:"columns"`
}

// encode is s as a line.
func encode(s reward.Sample) ([]byte, error) {
	r := row{s.Problem.ID, s.Problem.Prompt, s.Completion, s.Problem.Answer, s.Truncated, s.Tokens, s.Problem.Columns}
	if r.IDs == nil {
		r.IDs = []int32{}
	}
	if r.Columns == nil {
		r.Columns = map[string]any{}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("remote: problem %q: %w", s.Problem.ID, err)
	}
	return append(line, '\n'), nil
}

// decode reads a reply: a JSON number, or null for a sample that is not scored.
func decode(line []byte) (reward.Score, error) {
	var v *float64
	if err := json.Unmarshal(line, &v); err != nil {
		return reward.Score{}, fmt.Errorf("remote: want one number or null a line, got %s", excerpt(line))
	}
	if v == nil {
		return reward.Score{}, nil
	}
	return reward.Scored(*v), nil
}

// HTTPConfig says which server scores.
type HTTPConfig struct {
	Name   string       // of the reward; default "http"
	URL    string       // rows are posted here
	Key    string       // sent as a bearer token; may be empty. It is in no error
	Client *http.Client // whose transport is used; nil: the default one. Redirects are not followed
	Limits Limits
	Batch  int // rows in one request at most; default 64
}

// HTTP scores samples by a server: rows of JSON are posted, one a line, and one number or null a line comes back, as many as rows. A batch
// whose reply is anything else is asked again within the limits, and then not scored.
func HTTP(c HTTPConfig) (reward.GroupFunc, error) {
	client, err := NewClient(c.URL, c.Key, c.Client, c.Limits)
	if err != nil {
		return nil, err
	}
	if c.Name == "" {
		c.Name = "http"
	}
	if c.Batch == 0 {
		c.Batch = 64
	}
	if c.Batch < 0 {
		return nil, fmt.Errorf("remote: HTTPConfig.Batch is %d", c.Batch)
	}
	return reward.NamedGroup(c.Name, func(ctx context.Context, group []reward.Sample) ([]reward.Score, error) {
		scores := make([]reward.Score, 0, len(group))
		var errs []error
		for from := 0; from < len(group); from += c.Batch {
			batch := group[from:min(from+c.Batch, len(group))]
			got, err := postRows(ctx, client, batch)
			if err != nil {
				got = make([]reward.Score, len(batch))
			}
			scores, errs = append(scores, got...), append(errs, err)
		}
		return scores, errors.Join(errs...)
	}), nil
}

func postRows(ctx context.Context, client *Client, batch []reward.Sample) ([]reward.Score, error) {
	var body bytes.Buffer
	for _, s := range batch {
		line, err := encode(s)
		if err != nil {
			return nil, err
		}
		body.Write(line)
	}
	scores := make([]reward.Score, len(batch))
	err := client.Post(ctx, "application/x-ndjson", body.Bytes(), func(reply []byte) error {
		lines := strings.Split(strings.TrimSuffix(string(reply), "\n"), "\n")
		if len(lines) != len(batch) {
			return fmt.Errorf("%w: %d lines for %d rows", reward.ErrCount, len(lines), len(batch))
		}
		for i, line := range lines {
			var err error
			if scores[i], err = decode([]byte(line)); err != nil {
				return err
			}
		}
		return nil
	})
	return scores, err
}
