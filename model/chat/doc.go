// Package chat turns conversations into a model's text and the model's text back into reasoning and answer.
//
// A Template is the Jinja template of a model folder (chat_template.jinja, or an entry of tokenizer_config.json) with its special
// tokens; it renders what transformers renders, byte for byte, with the byte ranges that the assistant wrote. Split and Splitter
// take a completion apart at its thinking tags; rewards, sampling, commands and serving all use them.
package chat
