package recipe

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/reward"
)

// answerColumns are where the reference answer is looked for where no column is named.
var answerColumns = []string{"answer", "solution", "target"}

// codec is a model's tokenizer as the sampler wants it.
type codec struct {
	tok     *tokenizer.Tokenizer
	special bool // prompts are texts without the tokens that begin a text; a chat template writes them itself
}

// Encode turns a prompt into ids.
func (c codec) Encode(text string) ([]int32, error) { return c.tok.Encode(text, c.special), nil }

// Decode turns a completion into the text that rewards read.
func (c codec) Decode(ids []int32) string { return c.tok.Decode(ids, true) }

// questionColumn is where a problem keeps its question without system prompt and template, for rewards that look at it.
const questionColumn = "question without template"

func question(p reward.Problem) string {
	text, _ := p.Columns[questionColumn].(string)
	return text
}

// problem makes a problem of a row.
func (p Questions) problem(row data.Row, f render) (reward.Problem, error) {
	c, err := row.Content(p.PromptColumn)
	if err != nil {
		return reward.Problem{}, err
	}
	out := reward.Problem{ID: row.Place.String(), Columns: map[string]any{}}
	if out.Prompt, err = f(c, row); err != nil {
		return out, err
	}
	for _, field := range row.Fields {
		out.Columns[field.Name] = field.Value
	}
	out.Columns[questionColumn] = c.Text
	if n := len(c.Messages); n > 0 {
		out.Columns[questionColumn] = c.Messages[n-1].Content
	}
	column := p.AnswerColumn
	for _, name := range answerColumns {
		if column == "" && row.Has(name) {
			column = name
		}
	}
	if column == "" {
		return out, nil
	}
	v, ok := row.Fields.Get(column)
	if !ok {
		return out, &data.RowError{Place: row.Place, Field: column, Err: fmt.Errorf("there is no such column; dataset_answer_column names it")}
	}
	out.Answer = fmt.Sprint(v)
	if v == nil {
		out.Answer = ""
	}
	return out, nil
}

// read reads a split as problems; prompts longer than limit tokens are left out and counted.
func (p Questions) read(ctx context.Context, name, split string, f render, c codec, limit, most int, hub data.Hub) (all []reward.Problem, long int, err error) {
	set, err := data.Open(ctx, name, data.Options{Split: split, Config: p.Config, Hub: hub})
	if err != nil {
		return nil, 0, err
	}
	for row, err := range set.Rows(ctx, data.Cursor{}) {
		if err != nil {
			return nil, 0, err
		}
		q, err := p.problem(row, f)
		if err != nil {
			return nil, 0, err
		}
		if ids, err := c.Encode(q.Prompt); err != nil {
			return nil, 0, err
		} else if len(ids) > limit {
			long++
			continue
		}
		if all = append(all, q); most > 0 && len(all) == most {
			break
		}
	}
	if len(all) == 0 {
		return nil, long, fmt.Errorf("recipe: %s, split %s: all %d prompts are longer than %d tokens; raise max_prompt_length or shorten max_completion_length", name, split, long, limit)
	}
	return all, long, nil
}

// order sorts the problems by the column of a curriculum; equal ones stay in the file's order.
func (p Problems) order(all []reward.Problem) error {
	if p.Curriculum == "" {
		return nil
	}
	level := map[string]float64{}
	for _, q := range all {
		v := q.Columns[p.Curriculum]
		x, err := strconv.ParseFloat(fmt.Sprint(v), 64) // of CSV all values are text
		if err != nil || math.IsNaN(x) {
			return fmt.Errorf("recipe: %s: curriculum_column %s is %v, want a number", q.ID, p.Curriculum, v)
		}
		level[q.ID] = x
	}
	slices.SortStableFunc(all, func(a, b reward.Problem) int { return cmp.Compare(level[a.ID], level[b.ID]) })
	return nil
}
