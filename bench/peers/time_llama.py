"""Times llama.cpp, by llama-cpp-python's low-level calls: decode and prefill of GGUF files with our weights.

Settings: threads; fa, flash attention; ub, rows computed at once; type of the weights in the file where the dtype is bf16: bf16 or f16.
Decoding is llama_decode of one token of each sequence with its logits, as llama.cpp's own batched bench: no token is drawn, which favours
llama.cpp. Its cache is f16, its default.
"""
import ctypes
import json
import os

import gguf
import llama_cpp as ll
import numpy as np
from safetensors import safe_open

from protocol import differ, ids, probe, serve


def write(folder, kind):
    """The folder's model as a GGUF file without a vocabulary, matrices in the given type."""
    path = os.path.join(folder, f"{kind}.gguf")
    if os.path.exists(path):
        return path
    with open(os.path.join(folder, "config.json")) as f:
        c = json.load(f)
    llama = c["model_type"] == "llama"
    arch = gguf.MODEL_ARCH.LLAMA if llama else gguf.MODEL_ARCH.QWEN2
    w = gguf.GGUFWriter(path + ".part", gguf.MODEL_ARCH_NAMES[arch])
    heads, groups, layers = c["num_attention_heads"], c["num_key_value_heads"], c["num_hidden_layers"]
    w.add_block_count(layers)
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(groups)
    w.add_key_length(c.get("head_dim") or c["hidden_size"] // heads)
    w.add_value_length(c.get("head_dim") or c["hidden_size"] // heads)
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_dimension_count(c.get("head_dim") or c["hidden_size"] // heads)
    w.add_rope_freq_base((c.get("rope_parameters") or c)["rope_theta"])
    w.add_vocab_size(c["vocab_size"])
    w.add_tokenizer_model("no_vocab")
    names = gguf.get_tensor_name_map(arch, layers)
    matrix = {"f32": gguf.GGMLQuantizationType.F32, "bf16": gguf.GGMLQuantizationType.BF16, "f16": gguf.GGMLQuantizationType.F16}[kind]
    with safe_open(os.path.join(folder, "model.safetensors"), "numpy") as f:
        for name in f.keys():
            t = f.get_tensor(name)
            if llama and name.endswith(("q_proj.weight", "k_proj.weight")):
                t = interleaved(t, heads if name.endswith("q_proj.weight") else groups)
            as_type = matrix if t.ndim == 2 else gguf.GGMLQuantizationType.F32
            w.add_tensor(names.get_name(name, (".weight", ".bias")), gguf.quantize(t, as_type), raw_dtype=as_type)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    os.rename(path + ".part", path)
    return path


def interleaved(t, heads):
    """Rows of each head in the order of llama.cpp's rotary embedding, whose pairs are neighbours."""
    return np.ascontiguousarray(t.reshape(heads, 2, -1, t.shape[-1]).swapaxes(1, 2).reshape(t.shape))


class Model:
    """A file and a context for some sequences of some length."""

    def __init__(self, path, sequences, length, setting):
        p = ll.llama_model_default_params()
        p.n_gpu_layers = 0
        self.model = ll.llama_model_load_from_file(path.encode(), p)
        c = ll.llama_context_default_params()
        c.n_ctx, c.n_batch, c.n_seq_max = sequences * (-(-length // 256) * 256), max(2048, sequences), sequences
        c.n_ubatch = setting.get("ub", 512)
        if hasattr(c, "n_outputs_max"):
            c.n_outputs_max = max(64, sequences)
        c.n_threads = c.n_threads_batch = setting.get("threads", 2)
        c.flash_attn_type = ll.LLAMA_FLASH_ATTN_TYPE_ENABLED if setting.get("fa", 1) else ll.LLAMA_FLASH_ATTN_TYPE_DISABLED
        c.no_perf = True
        self.context = self.model and ll.llama_init_from_model(self.model, c)
        if not self.context:
            raise ValueError(f"llama.cpp refuses {path} with {setting}")
        self.vocabulary = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(self.model))
        self.batch = ll.llama_batch_init(2048, 0, 1)

    def __del__(self):
        if self.context:
            ll.llama_batch_free(self.batch)
            ll.llama_free(self.context)
        if self.model:
            ll.llama_model_free(self.model)

    def run(self, rows):
        """rows: (token, position, sequence, whether its logits are wanted)."""
        b = self.batch
        b.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = token, position, 1, wanted
            b.seq_id[i][0] = sequence
        if ll.llama_decode(self.context, b) != 0:
            raise ValueError("llama_decode failed")
        ll.llama_synchronize(self.context)

    def logits(self, i):
        return np.ctypeslib.as_array(ll.llama_get_logits_ith(self.context, i), shape=(self.vocabulary,)).astype(np.float64)

    def forget(self, sequence, position):
        ll.llama_memory_seq_rm(ll.llama_get_memory(self.context), sequence, position, -1)


def check(path, folder, dtype, setting):
    tokens, want = probe(folder)
    m = Model(path, 1, len(tokens), setting)
    m.run([(t, i, 0, True) for i, t in enumerate(tokens)])
    got = []
    for i, t in enumerate(tokens[1:]):
        z = m.logits(i)
        got.append(z[t] - z.max() - np.log(np.exp(z - z.max()).sum()))
    return differ(got, want, dtype)


def decode(r, path):
    batch, prompt, new = r["batch"], r["prompt"], r["new"]
    m = Model(path, batch, prompt + new, r["set"])
    for s in range(batch):
        m.run([(t, i, s, False) for i, t in enumerate(ids(s, prompt, m.vocabulary))])
    next_ids = [ids(1000 + s, new, m.vocabulary) for s in range(batch)]

    def run():
        for step in range(new):
            m.run([(next_ids[s][step], prompt + step, s, True) for s in range(batch)])
        for s in range(batch):
            m.forget(s, prompt)

    return [(f"decode {r['shape']} B{batch} prompt {prompt} new {new}", "tokens/s", batch * new, run)]


def prefill(r, path):
    batch, prompt = r["batch"], r["prompt"]
    m = Model(path, batch, prompt, r["set"])
    rows = [(t, i, s, i == prompt - 1) for s in range(batch) for i, t in enumerate(ids(s, prompt, m.vocabulary))]

    def run():
        m.run(rows)
        for s in range(batch):
            m.forget(s, 0)

    return [(f"prefill {r['shape']} B{batch} prompt {prompt}", "tokens/s", batch * prompt, run)]


def setup(r):
    kind = "f32" if r["dtype"] == "f32" else r["set"].get("type", "bf16")
    path = write(r["model"], kind)
    difference = check(path, r["model"], r["dtype"], r["set"])
    return (decode if r["bench"] == "decode" else prefill)(r, path), difference


@ll.llama_log_callback
def quiet(level, text, data):
    if level >= 4:  # errors
        os.write(2, text)


if __name__ == "__main__":
    ll.llama_log_set(quiet, ctypes.c_void_p(0))
    ll.llama_backend_init()
    serve(f"llama.cpp, llama-cpp-python {ll.__version__}", setup)
