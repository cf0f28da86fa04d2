/* Kernels of mixtures of experts. */
#include "rows_of.h"
#include "panel.h"
#include "floats.h"

static void lf_route(const lf_call *call, const lf_route_args *a) {
    int32_t experts = a->logits->ne[0];
    int64_t begin, end;
    lf_share(call, lf_rows(a->logits), &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        const float *x = lf_row(a->logits, t);
        int32_t *ids = (int32_t *)a->out0->data + t * a->used;
        float *weights = lf_row(a->out1, t), most = x[0], all = 0, chosen = 0;
        for (int32_t e = 1; e < experts; e++) most = x[e] > most ? x[e] : most;
        for (int32_t e = 0; e < experts; e++) all += expf(x[e] - most);
        for (int32_t u = 0; u < a->used; u++) {
            int32_t best = -1;
            for (int32_t e = 0; e < experts; e++) {
                int taken = 0;
                for (int32_t j = 0; j < u; j++) taken |= ids[j] == e;
                if (!taken && (best < 0 || x[e] > x[best])) best = e;
            }
            if (best < 0) best = 0; /* more wanted than there are */
            ids[u] = best;
            weights[u] = expf(x[best] - most) / all;
            chosen += weights[u];
        }
        for (int32_t u = 0; a->normalize && u < a->used; u++) weights[u] /= chosen;
    }
}

static void lf_weighted_sum(const lf_call *call, const lf_weighted_sum_args *a) {
    lf_piece piece;
    for (int64_t i = 0; lf_piece_of(call, a->out0, i, &piece); i++) {
        const float *weights = lf_row(a->weights, piece.row);
        float *out = lf_row(a->out0, piece.row) + piece.first;
        for (int32_t j = 0; j < piece.count; j++) {
            float sum = 0;
            for (int32_t m = 0; m < a->x->ne[1]; m++)
                sum = lf_fma1(lf_row(a->x, piece.row * a->x->ne[1] + m)[piece.first + j], weights[m], sum);
            out[j] = sum;
        }
    }
}

/* The matrix of one expert as a view. */
LF_INLINE lf_view lf_expert(const lf_view *w, int64_t e) {
    lf_view one = *w;
    one.data = (char *)w->data + lf_bytes(w->dtype, e * w->stride[2]);
    one.ne[2] = 1;
    return one;
}

static void lf_matmul_ids(const lf_call *call, const lf_matmul_ids_args *a) {
    int32_t m = a->ids->ne[0], t = a->ids->ne[1], k = a->w->ne[0], n = a->w->ne[1], shared = a->x->ne[1] == 1;
    int32_t rows = lf_rows_a_turn(call, n, LF_ROWS_A_TURN, LF_FEWER_ROWS);
    for (lf_turns turns = lf_turns_of(call, n, rows, 1, 1); lf_take_turn(call, &turns);) {
        int64_t begin = turns.row, end = begin + rows < n ? begin + rows : n;
        for (int64_t i = 0; i < (int64_t)t * m; i++) {
            lf_view w = lf_expert(a->w, ((const int32_t *)a->ids->data)[i]);
            lf_float_product p = {w.data, lf_bytes(w.dtype, w.stride[1]), lf_row(a->x, shared ? i / m : i), 0, lf_row(a->out0, i),
                                  0, k, 1, 0, rows};
            lf_float_each(w.dtype, &p, begin, end);
        }
    }
}

/* The pairs (numbers in ids) that chose expert e, in order: pairs[first[e]] to pairs[first[e + 1] - 1]. */
static void lf_sort_pairs(const int32_t *ids, int32_t count, int32_t experts, int32_t *first, int32_t *pairs) {
    memset(first, 0, sizeof *first * (size_t)(experts + 1));
    for (int32_t i = 0; i < count; i++) first[ids[i]]++;
    for (int32_t e = 0, sum = 0; e <= experts; e++) sum += first[e], first[e] = sum;
    for (int32_t i = count; i-- > 0;) pairs[--first[ids[i]]] = i;
}

static void lf_matmul_ids_quantized(const lf_call *call, const lf_matmul_ids_quantized_args *a) {
    int32_t m = a->ids->ne[0], t = a->ids->ne[1], k = a->w->ne[0], n = a->w->ne[1], shared = a->x->ne[1] == 1;
    int32_t experts = a->w->ne[2], *first = (int32_t *)call->scratch, *pairs = first + experts + 1;
    const lf_a8_block *columns[LF_MAX_FEW];
    lf_sums out[LF_MAX_FEW];
    int32_t rows = lf_rows_a_turn(call, n, LF_TURN, LF_IW);
    lf_sort_pairs(a->ids->data, t * m, experts, first, pairs);
    for (lf_turns turns = lf_turns_of(call, n, rows, 1, 1); lf_take_turn(call, &turns);) {
        for (int32_t e = 0; e < experts; e++) {
            if (first[e] == first[e + 1]) continue; /* nobody's: not read */
            lf_view w = lf_expert(a->w, e);
            lf_matrix matrix = lf_matrix_of(call, &w, rows);
            for (int32_t i = first[e], some; i < first[e + 1]; i += some) {
                some = lf_some_columns(first[e + 1] - i, LF_MAX_FEW);
                for (int32_t c = 0; c < some; c++) columns[c] = lf_a8_row(a->x->data, k, shared ? pairs[i + c] / m : pairs[i + c]);
                lf_few(&matrix, turns.row, columns, some, out);
                for (int32_t c = 0; c < some; c++) lf_put_lanes(&matrix, turns.row, out[c], lf_row(a->out0, pairs[i + c]));
            }
        }
    }
}
