package recipe

import (
	"fmt"

	"github.com/gor1/gor1/model/tokenizer"
)

// template is how prompts are made, whether the tokenizer must add the tokens that begin a text, and a note where the recipe leaves
// the choice open.
func (p Problems) template(dir string, tok *tokenizer.Tokenizer) (f render, special bool, note string, err error) {
	switch p.Template {
	case "none":
		return plain, true, "", nil
	case "r1zero":
		return zero, true, "", nil
	case "":
		return zero, true, "the model has no chat template: prompts are in R1-Zero's (prompt_template r1zero)", nil
	}
	return nil, false, "", fmt.Errorf("recipe: prompt_template is %q, want chat, r1zero or none", p.Template)
}
