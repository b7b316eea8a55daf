// Answers questions with the Rust tokenizers: node reference.cjs tokenizer.json in.jsonl out.jsonl
// A line is {"text": ...} or {"ids": [...]}.
const fs = require('fs');
const readline = require('readline');
const { Tokenizer } = require('@anush008/tokenizers');

const [model, input, output] = process.argv.slice(2);

(async () => {
  const tokenizer = Tokenizer.fromFile(model);
  const out = fs.createWriteStream(output);
  for await (const line of readline.createInterface({ input: fs.createReadStream(input), crlfDelay: Infinity })) {
    const question = JSON.parse(line);
    const row = {};
    let ids = question.ids;
    if (question.text !== undefined) {
      ids = row.ids = (await tokenizer.encode(question.text, null, { addSpecialTokens: false })).getIds();
      row.special = (await tokenizer.encode(question.text, null, { addSpecialTokens: true })).getIds();
    }
    row.decoded = await tokenizer.decode(ids, true);
    row.kept = await tokenizer.decode(ids, false);
    out.write(JSON.stringify(row) + '\n');
  }
  out.end();
})();
