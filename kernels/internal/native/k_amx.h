/* k_amx.h: class tile by TDPBF16PS: blocks of up to 32 rows by a panel of 32 columns, four tiles of sums, two of a and two of b. Rows of a and panels of b are what the
 * instruction wants: a row of a tile is 16 words in a row of a, or the words of 16 columns for one pair in k. The includer defines the tile operations, by the instructions
 * or in plain C: TILE_CONFIG(t), TILE_ZERO(i), TILE_LOAD(i, p, bytes), TILE_STORE(i, p, bytes), TILE_DP(c, a, b), TILE_RELEASE().
 *
 * Tiles belong to a thread. A range function that has used them releases them at its end: else the system would go on to save their 8 KiB at each switch of threads, and
 * with every signal on its stack. A signal in between needs that much more of its stack, which Go's have (32 KiB). */

/* as the instruction reads it */
typedef struct { uint8_t palette, start_row, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } tile_config;

enum { AMX_ROWS = 16, AMX_COLS = 32 };

/* tiles 0 and 1, and 4 of a, have upper rows, 2 and 3, and 5 of a, lower rows, or all where there are none and they are not used */
static void amx_shape(int upper, int lower)
{
	tile_config t = {.palette = 1};
	for (int i = 0; i < 8; i++)
		t.bytes[i] = 64, t.rows[i] = 16;
	t.rows[0] = t.rows[1] = t.rows[4] = (uint8_t)upper;
	if (lower)
		t.rows[2] = t.rows[3] = t.rows[5] = (uint8_t)lower;
	TILE_CONFIG(&t);
}

/* tiles are the sums over kp words of upper + lower rows of a with a panel, from c where acc is; bytes between rows */
static void amx_sums(int lower, int64_t kp, const uint32_t *a, const uint32_t *b, const float *c, int64_t c_bytes, int acc)
{
	const int64_t a_bytes = 4 * kp;
	if (acc) {
		TILE_LOAD(0, c, c_bytes);
		TILE_LOAD(1, c + 16, c_bytes);
	} else {
		TILE_ZERO(0);
		TILE_ZERO(1);
	}
	if (!lower) {
		for (int64_t k = 0; k < kp; k += BLOCK16) {
			TILE_LOAD(4, a + k, a_bytes);
			TILE_LOAD(6, b + k * AMX_COLS, 4 * AMX_COLS);
			TILE_LOAD(7, b + k * AMX_COLS + 16, 4 * AMX_COLS);
			TILE_DP(0, 4, 6);
			TILE_DP(1, 4, 7);
		}
		return;
	}
	if (acc) {
		TILE_LOAD(2, (const char *)c + AMX_ROWS * c_bytes, c_bytes);
		TILE_LOAD(3, (const char *)c + AMX_ROWS * c_bytes + 64, c_bytes);
	} else {
		TILE_ZERO(2);
		TILE_ZERO(3);
	}
	for (int64_t k = 0; k < kp; k += BLOCK16) {
		TILE_LOAD(4, a + k, a_bytes);
		TILE_LOAD(6, b + k * AMX_COLS, 4 * AMX_COLS);
		TILE_LOAD(7, b + k * AMX_COLS + 16, 4 * AMX_COLS);
		TILE_LOAD(5, a + AMX_ROWS * kp + k, a_bytes);
		TILE_DP(0, 4, 6);
		TILE_DP(1, 4, 7);
		TILE_DP(2, 5, 6);
		TILE_DP(3, 5, 7);
	}
}

/* rows i .. i + rows of c by panel p */
static void amx_block(const gemm16_args *g, int64_t i, int rows, int64_t p)
{
	const int lower = rows > AMX_ROWS ? rows - AMX_ROWS : 0;
	const int64_t j0 = p * AMX_COLS, cols = g->n - j0 < AMX_COLS ? g->n - j0 : AMX_COLS;
	float edge[2 * AMX_ROWS * AMX_COLS], *c = g->c + i * g->ldc + j0, *to = c;
	int64_t ld = g->ldc;
	if (cols < AMX_COLS) {
		to = edge, ld = AMX_COLS;
		memset(edge, 0, sizeof edge);
		for (int r = 0; r < rows && g->acc; r++)
			memcpy(to + r * ld, c + r * g->ldc, (size_t)cols * sizeof *c);
	}
	amx_sums(lower, g->kp, g->a + i * g->kp, g->b + p * g->kp * AMX_COLS, to, 4 * ld, g->acc);
	TILE_STORE(0, to, 4 * ld);
	TILE_STORE(1, to + 16, 4 * ld);
	if (lower) {
		TILE_STORE(2, to + AMX_ROWS * ld, 4 * ld);
		TILE_STORE(3, to + AMX_ROWS * ld + 16, 4 * ld);
	}
	for (int r = 0; r < rows && to == edge; r++)
		memcpy(c + r * g->ldc, to + r * ld, (size_t)cols * sizeof *c);
	for (int r = 0; r < rows && g->bias; r++)
		for (int64_t j = 0; j < cols; j++)
			c[r * g->ldc + j] += g->bias[j0 + j];
}

/* items are tasks, as in k_gemm */
static void gemm16_amx(const void *args, int64_t lo, int64_t hi, int worker)
{
	const gemm16_args *g = args;
	const int64_t panels = (g->n + AMX_COLS - 1) / AMX_COLS;
	int shaped = 0; /* rows that the tiles have */
	(void)worker;
	for (int64_t task = lo; task < hi; task++) {
		int64_t i0 = task / g->tasks_n * g->mc, i1 = g->m - i0 < g->mc ? g->m : i0 + g->mc;
		int64_t p0 = task % g->tasks_n * g->nc, p1 = panels - p0 < g->nc ? panels : p0 + g->nc;
		for (int64_t i = i0; i < i1; i += 2 * AMX_ROWS) {
			int rows = i1 - i < 2 * AMX_ROWS ? (int)(i1 - i) : 2 * AMX_ROWS;
			if (rows != shaped)
				amx_shape(rows < AMX_ROWS ? rows : AMX_ROWS, rows - AMX_ROWS > 0 ? rows - AMX_ROWS : 0);
			shaped = rows;
			for (int64_t p = p0; p < p1; p++)
				amx_block(g, i, rows, p);
		}
	}
	TILE_RELEASE();
}
