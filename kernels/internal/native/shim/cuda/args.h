/* args.h: the kernels, and what each is launched with: one structure, the same on the host and on the GPU. Pointers are the GPU's; letters
 * as in r1.h. Blocks have at most 256 threads, a multiple of 32. */
#ifndef R1_ARGS_H
#define R1_ARGS_H

/* X(file, kernel, its argument) */
#define R1_KERNELS(X) \
	X(gemm, r1_gemm, gemm_args) \
	X(gemm16, r1_gemm16_few, gemm16_args) X(gemm16, r1_gemm16_some, gemm16_args) X(gemm16, r1_gemm16_many, gemm16_args) \
	X(gemm16, r1_gemm16_back_few, gemm16_args) X(gemm16, r1_gemm16_back_some, gemm16_args) X(gemm16, r1_gemm16_back_many, gemm16_args) \
	X(gemm16, r1_gemm16_weight, gemm16_args) \
	X(gemm16, r1_round16, round16_args) X(gemm16, r1_pack16, round16_args) \
	X(elem, r1_unary, elem_args) X(elem, r1_unary_grad, elem_args) X(elem, r1_binary, elem_args) X(elem, r1_affine, elem_args) \
	X(elem, r1_fma, elem_args) X(elem, r1_clamp, elem_args) X(elem, r1_select, elem_args) X(elem, r1_glu, elem_args) X(elem, r1_glu_grad, elem_args) \
	X(rows, r1_row_sum, rows_args) X(rows, r1_row_max, rows_args) X(rows, r1_col_sum, rows_args) X(rows, r1_seg_sum, rows_args) \
	X(rows, r1_seg_scan, rows_args) X(rows, r1_scatter_add, rows_args) \
	X(norm, r1_rmsnorm, norm_args) X(norm, r1_rmsnorm_dx, norm_args) X(norm, r1_rmsnorm_dw, norm_args) X(norm, r1_rope, rope_args) \
	X(attn, r1_attn, attn_args) X(attn, r1_attn_paged, attn_args) X(attn, r1_attn_merge, attn_args) X(attn, r1_attn_dq, attn_args) X(attn, r1_attn_dkv, attn_args) \
	X(head, r1_head_stats, head_args) X(head, r1_head_dlogits, head_args) \
	X(draw, r1_head_draw, draw_args) \
	X(optim, r1_sq_norm, optim_args) X(optim, r1_sq_norm_end, optim_args) X(optim, r1_adamw, optim_args)

/* c [m,n] (+)= a b + bias; a(i,k) = a[i a_m + k a_k], b(k,j) = b[k b_k + j b_n] */
struct gemm_args {
	float *c = nullptr;
	const float *a = nullptr, *b = nullptr, *bias = nullptr;
	long long m = 0, n = 0, k = 0, a_m = 0, a_k = 0, b_k = 0, b_n = 0;
	int add = 0;
};

/* c [m,n] of a and b in bf16 already, plus bias; or of a and x, sequence by sequence */
struct gemm16_args {
	float *c = nullptr;
	const float *a = nullptr, *x = nullptr, *bias = nullptr;
	const unsigned short *b = nullptr;
	long long m = 0, n = 0, k = 0;
	const int *segs = nullptr; /* as in r1.h, or none */
	int nsegs = 0;
};

/* n numbers rounded to bf16, as f32 or as packed; away: halves away from 0, else to even */
struct round16_args {
	float *y = nullptr;
	unsigned short *packed = nullptr;
	const float *x = nullptr;
	long long n = 0;
	int away = 0;
};

/* n elements; y2, a, b, z as the operation has them; rows and columns for binary */
struct elem_args {
	float *y = nullptr, *y2 = nullptr;
	const float *a = nullptr, *b = nullptr, *z = nullptr;
	long long n = 0, cols = 0;
	int op = 0, how = 0;
	float s0 = 0, s1 = 0;
};

struct rows_args {
	float *y = nullptr;
	const float *x = nullptr;
	const int *idx = nullptr; /* segs, or rows by number */
	long long rows = 0, cols = 0;
	int reverse = 0;
};

struct norm_args {
	float *y = nullptr, *rstd = nullptr;
	const float *x = nullptr, *w = nullptr, *dy = nullptr, *rstd_in = nullptr;
	long long rows = 0, cols = 0;
	float eps = 0;
};

struct rope_args {
	float *y = nullptr;
	const float *x = nullptr, *table = nullptr;
	const int *pos = nullptr;
	long long t = 0, heads = 0, d = 0;
	float sign = 0;
	int pairs = 0;
};

struct attn_args {
	float *o = nullptr, *lse = nullptr, *dq = nullptr, *dk = nullptr, *dv = nullptr, *part = nullptr;
	const float *q = nullptr, *k = nullptr, *v = nullptr, *dout = nullptr, *oin = nullptr, *lse_in = nullptr;
	const int *segs = nullptr, *table = nullptr, *rows = nullptr;
	int t = 0, h = 0, g = 0, d = 0, n = 0; /* n sequences */
	int tile = 0;          /* rows of queries of a block */
	int pages = 0, slots = 0, window = 0, chunks = 0; /* chunks of a query in part */
	float scale = 0, softcap = 0;
};

/* rows of logits z [rows,V] and o of another head, already multiplied out */
struct head_args {
	float *z = nullptr, *o = nullptr, *logp = nullptr, *ent = nullptr, *lse = nullptr, *kl = nullptr, *aux = nullptr;
	const float *temp = nullptr, *dlogp = nullptr, *dent = nullptr, *dkl = nullptr, *ent_in = nullptr, *lse_in = nullptr, *aux_in = nullptr;
	const int *target = nullptr, *keep_at = nullptr, *keep = nullptr;
	long long v = 0;
	float softcap = 0, ocap = 0, beta = 0;
};

/* o: scratch as large as z, where cut is there */
struct draw_args {
	float *z = nullptr, *o = nullptr, *logp = nullptr, *ent = nullptr, *mass = nullptr;
	int *token = nullptr, *kept = nullptr;
	const float *temp = nullptr, *cut = nullptr;
	const int *counter = nullptr, *key = nullptr;
	long long v = 0;
	float softcap = 0;
};

struct optim_args {
	float *w = nullptr, *m = nullptr, *v = nullptr;
	const float *g = nullptr;
	const double *hyper = nullptr;
	double *partial = nullptr, *sum = nullptr;
	long long n = 0;
	float beta1 = 0, beta2 = 0, eps = 0, decay = 0;
};

#endif
