"""Times a GRPO step of TRL: rollout, rewards, advantages, loss, backward, AdamW, from the trainer's on_step_begin to its on_step_end.

As ours: 8 prompts of fixed ids, 8 samples each, none of which ends early (the end-of-sequence token lies outside the vocabulary), rewards
that differ inside each group, no reference model (beta 0, TRL's default), TRL's default loss (DAPO's). One request a process, which may
be asked again and again. Settings: threads; bf16, autocast with fp32 weights, as TRL trains; micro, sequences of one backward pass.
"""
import os

os.environ.setdefault("TQDM_DISABLE", "1")

import tempfile
import time

import torch
import transformers
import trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from models import load
from protocol import answer, ids, requests


def words(vocabulary):
    """A tokenizer whose words are the numbers of the tokens."""
    t = Tokenizer(models.WordLevel({str(i): i for i in range(vocabulary)} | {"<end>": vocabulary}, unk_token="0"))
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<end>", pad_token="<end>", padding_side="left")


class Steps(TrainerCallback):
    """Lets a step begin when it is asked for, and answers when it has ended. What the first says includes the warming up."""

    def __init__(self, first, rest, say):
        self.first, self.rest, self.say, self.asked = first, rest, say, True

    def on_step_begin(self, args, state, control, **_):
        if not self.asked:
            r = next(self.rest, None)
            if r is None:
                os._exit(0)  # nothing is saved, and the trainer has no way to stop before a step
            if r != self.first:
                raise ValueError("time_trl.py times one request a process")
        self.asked, self.began = False, time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        self.say(time.perf_counter() - self.began)


def main():
    rest = requests()
    r = next(rest)
    setting = r["set"]
    torch.set_num_threads(setting.get("threads", 2))
    model, vocabulary, check = load(r["model"], "f32")
    sequences = r["prompts"] * r["group"]
    micro = min(setting.get("micro", 8), sequences)
    prompts = [" ".join(map(str, ids(i, r["prompt"], vocabulary))) for i in range(r["prompts"])]
    name = f"step {r['shape']} prompts {r['prompts']} group {r['group']} prompt {r['prompt']} new {r['new']}"

    def say(seconds):
        done = trainer._metrics["train"]["completions/mean_length"][-1]
        if done != r["new"]:
            raise ValueError(f"completions of {done} tokens, not {r['new']}")
        answer(
            [{"name": name, "value": sequences * r["new"] / seconds, "unit": "tokens/s"}],
            dtype="bf16" if setting.get("bf16") else "f32", device=f"TRL {trl.__version__}, transformers {transformers.__version__}, torch {torch.__version__}", check=check,
        )

    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=bool(setting.get("bf16")), per_device_train_batch_size=micro,
        gradient_accumulation_steps=sequences // micro, num_generations=r["group"], max_completion_length=r["new"], learning_rate=1e-9,
        max_steps=1_000_000, save_strategy="no", report_to=[], logging_steps=1_000_000, gradient_checkpointing=False, disable_tqdm=True,
        temperature=1.0, adam_beta2=0.95, weight_decay=0.0, optim="adamw_torch_fused", dataloader_pin_memory=False,
    )
    trainer = GRPOTrainer(
        model=model, args=config, processing_class=words(vocabulary), train_dataset=Dataset.from_dict({"prompt": prompts}),
        reward_funcs=lambda completions, **_: [float(1 + i % r["group"] % 3) for i in range(len(completions))],
        callbacks=[Steps(r, rest, say)],
    )
    trainer.train()


if __name__ == "__main__":
    try:
        main()
    except Exception as e:
        answer([{"name": "step", "error": f"{type(e).__name__}: {e}"[:400]}])
        raise
