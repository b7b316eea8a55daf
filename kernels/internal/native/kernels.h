/* kernels.h: all kernels for the instruction set SIMD, and their table under the name KERNELS. */
#include "simd.h"
#include "k_elem.h"
#include "k_gemm.h"
#include "k_gemm16.h"
#include "k_norm.h"
#include "k_attn.h"
#include "k_head.h"
#include "k_draw.h"
#include "k_optim.h"
#include "k_split.h"

const cpu_kernels KERNELS = {
	.name = KERNELS_NAME,
	.mr = GEMM_MR, .nr = GEMM_NR, .gemm_scratch = GEMM_NR * GEMM_KC, .peak_flops = PEAK_FLOPS,
	.unary = k_unary, .unary_grad = k_unary_grad, .binary = k_binary, .affine = k_affine, .fma = k_fma, .clamp = k_clamp, .select = k_select,
	.row_sum = k_row_sum, .row_max = k_row_max, .col_sum = k_col_sum, .seg_sum = k_seg_sum, .seg_scan = k_seg_scan, .scatter_add = k_scatter_add,
	.gemm = k_gemm, .pack = k_pack, .gemm16_fma = k_gemm16_fma, .gemm16_dot = k_gemm16_dot, .gemm16_tile = k_gemm16_tile, .words16 = k_words16, .pairs16 = k_pairs16, .round16 = k_round16,
	.rmsnorm = k_rmsnorm, .rmsnorm_dx = k_rmsnorm_dx, .rmsnorm_dw = k_rmsnorm_dw, .rope = k_rope, .glu = k_glu, .glu_grad = k_glu_grad,
	.attn = k_attn, .attn_merge = k_attn_merge, .attn_grad = k_attn_grad,
	.head_stats = k_head_stats, .head_dlogits = k_head_dlogits, .head_draw = k_head_draw,
	.sq_norm = k_sq_norm, .adamw = k_adamw, .split_write = k_split_write, .split_read = k_split_read, .split_gather = k_split_gather, .split_panels = k_split_panels, .peak = k_peak,
};
