package chat_test

import (
	"fmt"
	"time"

	"github.com/gor1/gor1/model/chat"
)

// A conversation becomes the model's text, and what the model goes on to write comes apart.
func Example() {
	t, err := chat.Parse("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}")
	if err != nil {
		panic(err)
	}
	prompt, err := t.Render(chat.Conversation(true, chat.Message{Role: "user", Content: "6 * 7 ="}), time.Now())
	if err != nil {
		panic(err)
	}
	fmt.Printf("%q\n", prompt.Text)
	parts := chat.Split("Six sevens.\n</think>\n\n42", t.Tags(), t.Tags().Opened(prompt.Text))
	fmt.Printf("%q %q %t\n", parts.Reasoning, parts.Answer, parts.Closed)
	// Output:
	// "<|user|>6 * 7 =<|assistant|><think>\n"
	// "Six sevens." "42" true
}

// A Splitter takes a completion as it comes.
func ExampleSplitter() {
	s := chat.NewSplitter(chat.Think(), false)
	for _, piece := range []string{"<thi", "nk>6 * 7", " is 42</th", "ink>\n\nIt is ", "42."} {
		d := s.Add(piece)
		fmt.Printf("%q %q\n", d.Reasoning, d.Answer)
	}
	_, parts := s.Close()
	fmt.Printf("%q %q\n", parts.Reasoning, parts.Answer)
	// Output:
	// "" ""
	// "6 * 7" ""
	// " is 42" ""
	// "" "It is "
	// "" "42."
	// "6 * 7 is 42" "It is 42."
}
