/* r1.h: the contract between Go and a tensor backend. This header is the whole of it.
 *
 * A backend exports one symbol, r1_open, and fills one table of functions. Rules:
 *   - The table is append-only. A NULL entry means that Go composes the operation from other entries,
 *     so a fused operation on one backend never blocks another.
 *   - Every function returns NULL when it succeeded, else a message that the caller frees with err_free.
 *     There is no last-error call, no thread-local state and no mode that outlives a call.
 *   - The first argument of every operation is an r1_ctx: device, stream, threads, scratch. Any number of
 *     threads may use one r1_ctx at once.
 *   - Tensors are views by value, contiguous and row-major. The caller allocates every destination and
 *     destinations marked += hold the sum so far: the operation continues it. A tensor whose p is NULL is
 *     absent; arguments that may be absent are marked "or none".
 *   - What changes from step to step (positions, lengths, page tables, draw counters, learning rate) is a
 *     tensor, never a C scalar. C scalars are constants of the configuration.
 *
 * Letters in shapes: T packed tokens, N sequences or output features, K input features, D width, H query heads,
 * G key/value heads, d head size, V vocabulary, P pages, S slots a page, E experts. Types are f32 unless said.
 * bf16 tensors are allowed where a comment says "act" (activations and weights of matrix products).
 */
#ifndef R1_H
#define R1_H

#include <stddef.h>
#include <stdint.h>

#define R1_ABI 2u

enum { R1_F32 = 0, R1_BF16 = 1, R1_F16 = 2, R1_F64 = 3, R1_I32 = 4, R1_I64 = 5, R1_U8 = 6 };

typedef struct {
	void *p;      /* memory of the backend; NULL: absent */
	int64_t n[4]; /* extents, outermost first */
	int32_t nd;   /* how many of n count */
	int32_t dtype;
} r1_tensor;

typedef struct r1_ctx r1_ctx;
typedef struct r1_graph r1_graph;

enum { R1_ISA_AUTO = 0, R1_ISA_PORTABLE = 1, R1_ISA_AVX2 = 2, R1_ISA_AVX512 = 3, R1_ISA_NEON = 4 };

/* bf16 numerics: which instruction multiplies. One class for every M, in sampler and trainer alike. */
enum { R1_BF16_AUTO = 0, R1_BF16_FMA = 1, R1_BF16_DOT = 2, R1_BF16_TILE = 3, R1_BF16_MMA = 4 /* a GPU's m16n8k16 */ };

typedef struct {
	int32_t device;  /* ordinal; -1: libtorch on the CPU; ignored by cpu */
	int32_t threads; /* 0: one per core */
	int32_t isa;     /* R1_ISA_*; anything but AUTO that is not here is an error */
	int32_t bf16;    /* R1_BF16_* */
	int32_t fast;    /* 1: leave exact mode where the backend has a faster one */
	const char *kernels; /* folder of kernels compiled for the device, or NULL */
	int32_t reserved[8];
} r1_options;

typedef struct {
	int32_t exact;       /* 1: the execution contract holds, bit for bit */
	int32_t threads;     /* in use */
	int32_t isa;         /* chosen */
	int32_t bf16;        /* chosen */
	int64_t memory;      /* bytes of the device */
	char name[64];       /* "cpu", or the GPU's name */
	char description[192];
} r1_info;

/* unary: y = f(x) */
enum {
	R1_NEG = 0, R1_EXP, R1_LOG, R1_SQUARE, R1_SQRT, R1_RSQRT, R1_RECIPROCAL, R1_ABS,
	R1_TANH, R1_SIGMOID, R1_SILU, R1_GELU /* tanh form */, R1_RELU, R1_LOG_SIGMOID
};

/* binary: y = a op b. Comparisons give 1 or 0. */
enum { R1_ADD = 0, R1_SUB, R1_MUL, R1_DIV, R1_MAX, R1_MIN, R1_LESS, R1_GREATER, R1_EQUAL };

/* how b meets a [.., C] in binary */
enum { R1_SAME = 0, R1_SCALAR = 1 /* one element */, R1_ROW = 2 /* [C], again for each row */, R1_COL = 3 /* one element for each row */ };

/* gates of glu */
enum { R1_GATE_SILU = 0, R1_GATE_GELU = 1 };

/* how rope turns: back; neighbours (2i, 2i+1) in place of halves (i, i + d/2), as DeepSeek-V3 */
enum { R1_ROPE_BACK = 1, R1_ROPE_PAIRS = 2 };

#define R1_LINEARS 8 /* weights of one linears */

/* how round16 rounds */
enum { R1_NEAREST_EVEN = 0, R1_HALF_AWAY = 1 };

/* parts of a split weight */
enum { R1_SPLIT_HI = 0, R1_SPLIT_LO = 1, R1_SPLIT_BACK = 2 };

/* what measure measures */
enum { R1_PEAK_F32 = 0 /* FLOP/s of the context's threads */, R1_PEAK_BF16 = 1, R1_PEAK_COPY = 2 /* bytes read + written a second */ };

/* Segs: int32 [N,3], for each sequence: first row, rows, parent (another sequence whose rows stand before this
 * one's, the shared prompt of a group; -1: none). A parent has no parent. Sequences do not overlap and come in the
 * canonical order; every row belongs to exactly one. A row's position counts the parent's rows too. */

typedef struct {
	uint64_t size; /* sizeof(r1_api) of the backend: entries past it are absent */
	const char *name;

	/* life, memory, transfer */
	void (*err_free)(char *msg);
	char *(*ctx_new)(const r1_options *opt, r1_ctx **out);
	char *(*ctx_free)(r1_ctx *c);
	char *(*info)(r1_ctx *c, r1_info *out);
	char *(*measure)(r1_ctx *c, int32_t what, double seconds, double *out);
	char *(*alloc)(r1_ctx *c, int64_t bytes, void **out); /* 64-byte aligned, contents undefined */
	char *(*release)(r1_ctx *c, void *p);
	char *(*write)(r1_ctx *c, r1_tensor dst, const void *src, int64_t bytes); /* from host; done when it returns */
	char *(*read)(r1_ctx *c, void *dst, r1_tensor src, int64_t bytes);        /* to host; waits for the stream */
	char *(*copy)(r1_ctx *c, r1_tensor dst, r1_tensor src);                   /* same bytes */
	char *(*zero)(r1_ctx *c, r1_tensor dst);
	char *(*sync)(r1_ctx *c);

	/* a launch recorded once and repeated; NULL on cpu */
	char *(*graph_begin)(r1_ctx *c);
	char *(*graph_end)(r1_ctx *c, r1_graph **out);
	char *(*graph_launch)(r1_ctx *c, r1_graph *g);
	char *(*graph_free)(r1_ctx *c, r1_graph *g);

	/* element-wise. y may be x or a. */
	char *(*cast)(r1_ctx *c, r1_tensor y, r1_tensor x);
	char *(*unary)(r1_ctx *c, int32_t op, r1_tensor y, r1_tensor x);
	char *(*unary_grad)(r1_ctx *c, int32_t op, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor y); /* dx = dy f'(x) */
	char *(*binary)(r1_ctx *c, int32_t op, int32_t how, r1_tensor y, r1_tensor a, r1_tensor b);
	char *(*affine)(r1_ctx *c, r1_tensor y, r1_tensor x, float scale, float shift); /* fma(x, scale, shift) */
	char *(*fma)(r1_ctx *c, r1_tensor y, r1_tensor a, r1_tensor b, r1_tensor z);    /* y = fma(a, b, z), same shapes */
	char *(*clamp)(r1_ctx *c, r1_tensor y, r1_tensor x, float lo, float hi);
	char *(*select)(r1_ctx *c, r1_tensor y, r1_tensor cond, r1_tensor a, r1_tensor b); /* cond != 0 ? a : b */

	/* reductions */
	char *(*row_sum)(r1_ctx *c, r1_tensor y_T, r1_tensor x_TD);
	char *(*row_max)(r1_ctx *c, r1_tensor y_T, r1_tensor x_TD);
	char *(*col_sum)(r1_ctx *c, r1_tensor y_D /* += */, r1_tensor x_TD); /* one chain down the rows */
	char *(*seg_sum)(r1_ctx *c, r1_tensor y_N, r1_tensor x_T, r1_tensor segs);
	char *(*seg_spread)(r1_ctx *c, r1_tensor y_T, r1_tensor x_N, r1_tensor segs); /* y[t] = x[sequence of t] */
	char *(*seg_scan)(r1_ctx *c, r1_tensor y_T, r1_tensor x_T, r1_tensor segs, int32_t reverse); /* running sums inside each sequence */

	/* rows and columns by number */
	char *(*gather)(r1_ctx *c, r1_tensor y_TD, r1_tensor x_RD, r1_tensor idx_T);            /* act; y[t] = x[idx[t]] */
	char *(*scatter_add)(r1_ctx *c, r1_tensor y_RD /* += */, r1_tensor x_TD, r1_tensor idx_T); /* ascending t */
	char *(*pick)(r1_ctx *c, r1_tensor y_T, r1_tensor x_TD, r1_tensor idx_T);               /* y[t] = x[t, idx[t]] */
	char *(*pick_grad)(r1_ctx *c, r1_tensor dx_TD, r1_tensor dy_T, r1_tensor idx_T);        /* dx otherwise 0 */
	char *(*copy_cols)(r1_ctx *c, r1_tensor y_TA, r1_tensor x_TB, int64_t ycol, int64_t xcol, int64_t n);

	/* matrix products. One chain of fma in ascending order per output, whatever the tile. act.
	 * A packed weight is opaque memory of pack_bytes; it serves linear and linear_dx and is stale once w changes.
	 * 0 bytes: the backend reads such a weight as it is, and there is nothing to pack.
	 * An absent packed weight is packed on the fly: the same bits. A packed weight of dtype bf16 (pack_bytes / 2 elements, made
	 * from the f32 weight rounded as R1_HALF_AWAY) makes the product one in bf16, of the context's class: x or dy are rounded to
	 * nearest even, sums are f32. It serves the heads too, whose gradient rounds what it multiplies. A weight
	 * gradient has no packed weight: linear_dw16, below, is the one of such a product. */
	char *(*pack_bytes)(r1_ctx *c, int64_t n, int64_t k, int32_t dtype, int64_t *out);
	char *(*pack)(r1_ctx *c, r1_tensor packed_u8, r1_tensor w_NK);
	char *(*linear)(r1_ctx *c, r1_tensor y_TN, r1_tensor x_TK, r1_tensor w_NK, r1_tensor packed /* or none */, r1_tensor bias_N /* or none */);
	char *(*linear_dx)(r1_ctx *c, r1_tensor dx_TK, r1_tensor dy_TN, r1_tensor w_NK, r1_tensor packed /* or none */); /* also the plain product dy w */
	char *(*linear_dw)(r1_ctx *c, r1_tensor dw_NK /* += */, r1_tensor dy_TN, r1_tensor x_TK, r1_tensor segs /* or none */);
	/* rows offsets[e] .. offsets[e+1] of x meet w[e]; offsets is int32 [E+1] */
	char *(*grouped_linear)(r1_ctx *c, r1_tensor y_TN, r1_tensor x_TK, r1_tensor w_ENK, r1_tensor packed, r1_tensor offsets);
	char *(*grouped_linear_dx)(r1_ctx *c, r1_tensor dx_TK, r1_tensor dy_TN, r1_tensor w_ENK, r1_tensor packed, r1_tensor offsets);
	char *(*grouped_linear_dw)(r1_ctx *c, r1_tensor dw_ENK /* += */, r1_tensor dy_TN, r1_tensor x_TK, r1_tensor offsets);

	/* the transformer's own */
	char *(*rmsnorm)(r1_ctx *c, r1_tensor y_TD, r1_tensor rstd_T, r1_tensor x_TD, r1_tensor w_D, float eps);
	char *(*rmsnorm_dx)(r1_ctx *c, r1_tensor dx_TD, r1_tensor dy_TD, r1_tensor x_TD, r1_tensor w_D, r1_tensor rstd_T);
	char *(*rmsnorm_dw)(r1_ctx *c, r1_tensor dw_D /* += */, r1_tensor dy_TD, r1_tensor x_TD, r1_tensor rstd_T);
	/* halves rotated as in Llama; table [positions, d]: d/2 cosines, then d/2 sines; pos int32. how: R1_ROPE_* added up */
	char *(*rope)(r1_ctx *c, r1_tensor y_THd, r1_tensor x_THd, r1_tensor pos_T, r1_tensor table, int32_t how);
	char *(*glu)(r1_ctx *c, int32_t gate, r1_tensor y_TD, r1_tensor gate_TD, r1_tensor up_TD); /* f(gate) up */
	char *(*glu_grad)(r1_ctx *c, int32_t gate, r1_tensor dgate_TD, r1_tensor dup_TD, r1_tensor dy_TD, r1_tensor gate_TD, r1_tensor up_TD);

	/* causal attention over packed sequences. lse is the log of the softmax's denominator. window: keys further back
	 * than window-1 are not seen (0: all). softcap: scores become cap tanh(score / cap) (0: none). */
	char *(*attn)(r1_ctx *c, r1_tensor o_THd, r1_tensor lse_TH, r1_tensor q_THd, r1_tensor k_TGd, r1_tensor v_TGd, r1_tensor segs,
	              float scale, int64_t window, float softcap);
	char *(*attn_grad)(r1_ctx *c, r1_tensor dq_THd, r1_tensor dk_TGd, r1_tensor dv_TGd, r1_tensor do_THd, r1_tensor q_THd, r1_tensor k_TGd,
	                   r1_tensor v_TGd, r1_tensor o_THd, r1_tensor lse_TH, r1_tensor segs, float scale, int64_t window, float softcap);
	/* the same attention over cached keys and values, for any number of new rows a sequence: decode, prefill and chunked
	 * prefill. slot int32 [T]: page * S + place. rows int32 [T,2]: (row of the page table, position). What lies where inside a page is
	 * the backend's affair, so pages are copied whole or not at all; cpu wants S to be a multiple of 16. */
	char *(*kv_write)(r1_ctx *c, r1_tensor kpages_PSGd, r1_tensor vpages_PSGd, r1_tensor k_TGd, r1_tensor v_TGd, r1_tensor slot_T);
	char *(*attn_paged)(r1_ctx *c, r1_tensor o_THd, r1_tensor q_THd, r1_tensor kpages_PSGd, r1_tensor vpages_PSGd, r1_tensor table /* int32 [N, pages] */,
	                    r1_tensor rows, float scale, int64_t window, float softcap);

	/* the fused head: logits z = softcap(x wT) / temperature are never stored. temp_T: 1 where absent.
	 * logp: log softmax at target; ent: entropy in nats; lse: log of the denominator, kept for the gradient. */
	char *(*head)(r1_ctx *c, r1_tensor logp_T, r1_tensor ent_T, r1_tensor lse_T, r1_tensor x_TD, r1_tensor w_VD, r1_tensor packed /* or none */,
	              r1_tensor target_T /* int32 */, r1_tensor temp_T /* or none */, float softcap);
	char *(*head_grad)(r1_ctx *c, r1_tensor dx_TD, r1_tensor dw_VD /* +=; or none */, r1_tensor dlogp_T, r1_tensor dent_T /* or none */, r1_tensor ent_T,
	                   r1_tensor lse_T, r1_tensor x_TD, r1_tensor w_VD, r1_tensor packed /* or none */, r1_tensor target_T, r1_tensor temp_T /* or none */, float softcap);
	/* the same head, beside another model and over some of the words. y, u, upacked, ycap: the other head, or none: kl is then the
	 * divergence of p = softmax(x wT) and q = softmax(y uT) at one temperature, KL(p || q) for beta 1, KL(q || p) for beta 0, else
	 * beta KL(q || m) + (1 - beta) KL(p || m) with m = beta q + (1 - beta) p; its gradient goes to x and w. aux_T2 is kept for the
	 * gradient. keep_at int32 [T+1], keep: row r is restricted to the words keep[keep_at[r]] .., ascending, the target among them, or
	 * none: all. [T, V] is never stored. */
	char *(*head_ext)(r1_ctx *c, r1_tensor logp_T, r1_tensor ent_T, r1_tensor lse_T, r1_tensor kl_T /* or none */, r1_tensor aux_T2 /* or none */, r1_tensor x_TD, r1_tensor w_VD,
	                  r1_tensor packed /* or none */, r1_tensor target_T, r1_tensor temp_T /* or none */, float softcap, r1_tensor y_TC, r1_tensor u_VC, r1_tensor upacked /* or none */,
	                  float ycap, float beta, r1_tensor keep_at, r1_tensor keep);
	char *(*head_ext_grad)(r1_ctx *c, r1_tensor dx_TD, r1_tensor dw_VD /* +=; or none */, r1_tensor dlogp_T, r1_tensor dent_T /* or none */, r1_tensor dkl_T /* or none */, r1_tensor ent_T,
	                       r1_tensor lse_T, r1_tensor aux_T2, r1_tensor x_TD, r1_tensor w_VD, r1_tensor packed, r1_tensor target_T, r1_tensor temp_T, float softcap, r1_tensor y_TC,
	                       r1_tensor u_VC, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep);
	/* one draw a row by inverse CDF in float64; the uniform is Philox-4x32-10 of key int32 [2] and counter int32 [B,4] =
	 * (step, dataset row, sample, position). temp 0: the likeliest token, its log-prob at temperature 1. Ties: lower id. */
	char *(*head_sample)(r1_ctx *c, r1_tensor token_B /* int32 */, r1_tensor logp_B, r1_tensor ent_B, r1_tensor x_BD, r1_tensor w_VD, r1_tensor packed,
	                     r1_tensor temp_B /* or none */, r1_tensor counter_B4, r1_tensor key, float softcap);

	/* optimiser. sq_norm adds the square norm of x, in double over fixed blocks, to y f64 [1].
	 * adamw: hyper f64 [4] = learning rate, gradient factor (clip), 1 - beta1^t, 1 - beta2^t. */
	char *(*sq_norm)(r1_ctx *c, r1_tensor y /* += */, r1_tensor x);
	char *(*adamw)(r1_ctx *c, r1_tensor w, r1_tensor m, r1_tensor v, r1_tensor g, r1_tensor hyper, float beta1, float beta2, float eps, float decay);

	/* collectives over the ranks of a context; NULL until there is more than one */
	char *(*all_reduce)(r1_ctx *c, r1_tensor x);
	char *(*broadcast)(r1_ctx *c, r1_tensor x, int32_t root);

	/* head_sample from a truncated distribution: of each row the words that top-k, then top-p of the mass left, then min-p of the
	 * likeliest word's probability leave; cut_B3: k (0: all), p (0 or 1: all), min-p (0: all). Words go in the order of larger logit,
	 * then lower id. kept: int32 [B, (V+31)/32], bit i of a row set where word i was kept; mass: the probability they had
	 * together. logp, ent: over the kept words, what head_ext gives for them. Rows of temperature 0 are not truncated. */
	char *(*head_sample_keep)(r1_ctx *c, r1_tensor token_B /* int32 */, r1_tensor logp_B, r1_tensor ent_B, r1_tensor kept, r1_tensor mass_B, r1_tensor x_BD, r1_tensor w_VD, r1_tensor packed,
	                          r1_tensor temp_B /* or none */, r1_tensor cut_B3, r1_tensor counter_B4, r1_tensor key, float softcap);

	/* y = x, f32, with values that bf16 has. how: R1_NEAREST_EVEN (activations), R1_HALF_AWAY (weights: the high half of bits + 0x8000) */
	char *(*round16)(r1_ctx *c, r1_tensor y, r1_tensor x, int32_t how);

	/* linear_dw of dy and x rounded as round16 does activations, one chain down the rows, of the context's class of bf16. NULL: round16 of both, then linear_dw */
	char *(*linear_dw16)(r1_ctx *c, r1_tensor dw_NK /* += */, r1_tensor dy_TN, r1_tensor x_TK);

	/* bytes of keys and values that attn_paged has read from the pages since the context was made; what rows take together counts once */
	char *(*kv_read)(r1_ctx *c, int64_t *out);

	/* linear_dw16 and head_ext_grad over rows of several sequences, segs int32 [N,3] or none: one. Class tile adds rows to dw in blocks of 32, class mma in blocks
	 * of 16, and a block ends where its sequence does; so passes over parts of a batch that is cut between sequences add up to the same bits. A parent is a
	 * sequence like others. Other classes give the same bits with segs and without. head_grad_segs is NULL where the head's gradient is one chain. */
	char *(*linear_dw16_segs)(r1_ctx *c, r1_tensor dw_NK /* += */, r1_tensor dy_TN, r1_tensor x_TK, r1_tensor segs);
	char *(*head_grad_segs)(r1_ctx *c, r1_tensor dx_TD, r1_tensor dw_VD /* +=; or none */, r1_tensor dlogp_T, r1_tensor dent_T /* or none */, r1_tensor dkl_T /* or none */, r1_tensor ent_T,
	                        r1_tensor lse_T, r1_tensor aux_T2, r1_tensor x_TD, r1_tensor w_VD, r1_tensor packed, r1_tensor target_T, r1_tensor temp_T, float softcap, r1_tensor y_TC,
	                        r1_tensor u_VC, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep, r1_tensor segs);

	/* linear of one x by n weights, at most R1_LINEARS, each with its y, packed and bias: the bits of linear. NULL: linear, one after the other */
	char *(*linears)(r1_ctx *c, int32_t n, const r1_tensor *y_TN, r1_tensor x_TK, const r1_tensor *w_NK, const r1_tensor *packed, const r1_tensor *bias_N);

	/* A split weight [N,K] is one for products in bf16 that is kept without its f32 values, in opaque parts of split_bytes, which the caller
	 * sets to zero first. hi: the values rounded as R1_HALF_AWAY, as linear and the heads read them; lo: what rounding took, absent where that
	 * is zero everywhere; back: hi as linear_dx and the heads' gradients read it. hi and lo together are all bits of a value, but that a
	 * NaN is quiet. It stands as w, bf16 [N,K] in shape, with the memory of back in p, or NULL where nothing asks for it; and hi, bf16
	 * (split_bytes / 2 elements), which is the packed weight of products and heads. lo is u8. split_write and split_read move the
	 * elements from number at on, row by row, as many as x f32 has; writing makes back stale, and split_back makes it anew, as
	 * split_adamw does where it is there: adamw of the values. split_gather: y[t] = row idx[t] of hi. NULL: a weight in bf16 is packed
	 * from its f32 values (pack). */
	char *(*split_bytes)(r1_ctx *c, int64_t n, int64_t k, int32_t part, int64_t *out);
	char *(*split_write)(r1_ctx *c, r1_tensor w_NK, r1_tensor hi, r1_tensor lo /* or none */, r1_tensor x, int64_t at);
	char *(*split_read)(r1_ctx *c, r1_tensor x, r1_tensor w_NK, r1_tensor hi, r1_tensor lo /* or none */, int64_t at);
	char *(*split_back)(r1_ctx *c, r1_tensor w_NK, r1_tensor hi);
	char *(*split_gather)(r1_ctx *c, r1_tensor y_TK, r1_tensor w_NK, r1_tensor hi, r1_tensor idx_T);
	char *(*split_adamw)(r1_ctx *c, r1_tensor w_NK, r1_tensor hi, r1_tensor lo, r1_tensor m, r1_tensor v, r1_tensor g, r1_tensor hyper, float beta1, float beta2, float eps, float decay);

	/* 1: kv_write and attn_paged take kpages and vpages of bf16 too, both or neither; what is written is rounded as R1_NEAREST_EVEN. NULL: f32 alone */
	char *(*kv_bf16)(r1_ctx *c, int32_t *out);
} r1_api;

/* Opens the backend. abi is the caller's R1_ABI; another one is refused. The table is static. */
char *r1_open(uint32_t abi, const r1_api **out);

#endif
