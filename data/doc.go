// Package data reads training rows: texts, conversations, prompts with completions, preference pairs, problems with answers.
//
// A [Dataset] is the files of one split, opened by [Open] from a file, a folder or a hub id; JSON Lines, JSON, CSV and Parquet,
// plain or compressed. Its rows come as a [Stream]: an iterator in which every [Row] carries the [Cursor] from which the rest
// can be read again, exactly. [Repeat], [Map], [Shuffle] and [Mix] are streams over streams, so that epochs, column mapping,
// order and mixtures resume the same way. [Row.Example] reads a row as one of TRL's shapes.
//
// Nothing is converted silently. A number keeps its kind (integers are exact), a wrong type is an error that names file, line,
// field and value, and what is damaged ends the stream unless Options.Skip says otherwise.
package data
