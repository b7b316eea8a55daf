/* ops.h: the entries of the table that cpu_elem.c, cpu_matrix.c and cpu_head.c fill; r1.h says what each does. */
#ifndef R1_OPS_H
#define R1_OPS_H

#include "r1.h"

char *cpu_unary(r1_ctx *c, int32_t op, r1_tensor y, r1_tensor x);
char *cpu_unary_grad(r1_ctx *c, int32_t op, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor y);
char *cpu_binary(r1_ctx *c, int32_t op, int32_t how, r1_tensor y, r1_tensor a, r1_tensor b);
char *cpu_affine(r1_ctx *c, r1_tensor y, r1_tensor x, float scale, float shift);
char *cpu_fma(r1_ctx *c, r1_tensor y, r1_tensor a, r1_tensor b, r1_tensor z);
char *cpu_clamp(r1_ctx *c, r1_tensor y, r1_tensor x, float lo, float hi);
char *cpu_select(r1_ctx *c, r1_tensor y, r1_tensor cond, r1_tensor a, r1_tensor b);
char *cpu_cast(r1_ctx *c, r1_tensor y, r1_tensor x);
char *cpu_row_sum(r1_ctx *c, r1_tensor y, r1_tensor x);
char *cpu_row_max(r1_ctx *c, r1_tensor y, r1_tensor x);
char *cpu_col_sum(r1_ctx *c, r1_tensor y, r1_tensor x);
char *cpu_seg_sum(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs);
char *cpu_seg_spread(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs);
char *cpu_seg_scan(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor segs, int32_t reverse);
char *cpu_gather(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx);
char *cpu_scatter_add(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx);
char *cpu_pick(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor idx);
char *cpu_pick_grad(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor idx);
char *cpu_copy_cols(r1_ctx *c, r1_tensor y, r1_tensor x, int64_t ycol, int64_t xcol, int64_t n);
char *cpu_pack_bytes(r1_ctx *c, int64_t n, int64_t k, int32_t dtype, int64_t *out);
char *cpu_pack(r1_ctx *c, r1_tensor packed, r1_tensor w);
char *cpu_linear(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor bias);
char *cpu_linears(r1_ctx *c, int32_t n, const r1_tensor *y, r1_tensor x, const r1_tensor *w, const r1_tensor *packed, const r1_tensor *bias);
char *cpu_linear_dx(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor w, r1_tensor packed);
char *cpu_linear_dw(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor segs);
char *cpu_linear_dw16(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x);
char *cpu_linear_dw16_segs(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor segs);
char *cpu_round16(r1_ctx *c, r1_tensor y, r1_tensor x, int32_t how);
char *cpu_rmsnorm(r1_ctx *c, r1_tensor y, r1_tensor rstd, r1_tensor x, r1_tensor w, float eps);
char *cpu_rmsnorm_dx(r1_ctx *c, r1_tensor dx, r1_tensor dy, r1_tensor x, r1_tensor w, r1_tensor rstd);
char *cpu_rmsnorm_dw(r1_ctx *c, r1_tensor dw, r1_tensor dy, r1_tensor x, r1_tensor rstd);
char *cpu_rope(r1_ctx *c, r1_tensor y, r1_tensor x, r1_tensor pos, r1_tensor table, int32_t how);
char *cpu_glu(r1_ctx *c, int32_t act, r1_tensor y, r1_tensor gate, r1_tensor up);
char *cpu_glu_grad(r1_ctx *c, int32_t act, r1_tensor dgate, r1_tensor dup, r1_tensor dy, r1_tensor gate, r1_tensor up);
char *cpu_attn(r1_ctx *c, r1_tensor o, r1_tensor lse, r1_tensor q, r1_tensor k, r1_tensor v, r1_tensor segs, float scale, int64_t window, float softcap);
char *cpu_attn_grad(r1_ctx *c, r1_tensor dq, r1_tensor dk, r1_tensor dv, r1_tensor dout, r1_tensor q, r1_tensor k, r1_tensor v, r1_tensor o, r1_tensor lse, r1_tensor segs, float scale, int64_t window, float softcap);
char *cpu_kv_write(r1_ctx *c, r1_tensor kpages, r1_tensor vpages, r1_tensor k, r1_tensor v, r1_tensor slot);
char *cpu_kv_read(r1_ctx *c, int64_t *out);
char *cpu_kv_bf16(r1_ctx *c, int32_t *out);
char *cpu_attn_paged(r1_ctx *c, r1_tensor o, r1_tensor q, r1_tensor kpages, r1_tensor vpages, r1_tensor table, r1_tensor at, float scale, int64_t window, float softcap);
char *cpu_head(r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap);
char *cpu_head_grad(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor ent, r1_tensor lse, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap);
char *cpu_head_ext(r1_ctx *c, r1_tensor logp, r1_tensor ent, r1_tensor lse, r1_tensor kl, r1_tensor aux, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap, r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep);
char *cpu_head_ext_grad(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor dkl, r1_tensor ent, r1_tensor lse, r1_tensor aux, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap, r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep);
char *cpu_head_grad_segs(r1_ctx *c, r1_tensor dx, r1_tensor dw, r1_tensor dlogp, r1_tensor dent, r1_tensor dkl, r1_tensor ent, r1_tensor lse, r1_tensor aux, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor target, r1_tensor temp, float softcap, r1_tensor y, r1_tensor u, r1_tensor upacked, float ycap, float beta, r1_tensor keep_at, r1_tensor keep, r1_tensor segs);
char *cpu_head_sample(r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor counter, r1_tensor key, float softcap);
char *cpu_head_sample_keep(r1_ctx *c, r1_tensor token, r1_tensor logp, r1_tensor ent, r1_tensor kept, r1_tensor mass, r1_tensor x, r1_tensor w, r1_tensor packed, r1_tensor temp, r1_tensor cut, r1_tensor counter, r1_tensor key, float softcap);
char *cpu_sq_norm(r1_ctx *c, r1_tensor y, r1_tensor x);
char *cpu_adamw(r1_ctx *c, r1_tensor w, r1_tensor m, r1_tensor v, r1_tensor g, r1_tensor hyper, float beta1, float beta2, float eps, float decay);
char *cpu_split_bytes(r1_ctx *c, int64_t n, int64_t k, int32_t part, int64_t *out);
char *cpu_split_write(r1_ctx *c, r1_tensor w, r1_tensor hi, r1_tensor lo, r1_tensor x, int64_t at);
char *cpu_split_read(r1_ctx *c, r1_tensor x, r1_tensor w, r1_tensor hi, r1_tensor lo, int64_t at);
char *cpu_split_back(r1_ctx *c, r1_tensor w, r1_tensor hi);
char *cpu_split_gather(r1_ctx *c, r1_tensor y, r1_tensor w, r1_tensor hi, r1_tensor idx);
char *cpu_split_adamw(r1_ctx *c, r1_tensor w, r1_tensor hi, r1_tensor lo, r1_tensor m, r1_tensor v, r1_tensor g, r1_tensor hyper, float beta1, float beta2, float eps, float decay);

#endif
