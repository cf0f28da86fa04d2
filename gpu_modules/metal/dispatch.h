/* Which kernel an op is, over which grid, and what it is told: the same for Metal and for the emulated card. Plain C. */
#ifndef LF_DISPATCH_H
#define LF_DISPATCH_H
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "a8.h"
#include "module.h"
#define LF_DEFINE_SPECS
#include "ops.h"
#include "arguments.h"

/* A launch: groups of threads, and bytes of memory that a group shares. */
typedef struct {
    char kernel[48];
    uint32_t groups[2], threads, room;
} lf_launch;

/* Formats that a cache may have. */
static int lf_is_cell(int dtype) {
    return lf_is_float(dtype) || dtype == LF_Q8_0 || dtype == LF_Q4_0 || dtype == LF_Q4_1 || dtype == LF_Q5_0 || dtype == LF_Q5_1 ||
           dtype == LF_IQ4_NL;
}

static void lf_tell_shape(const lf_view *v, lf_shape *s) {
    s->dtype = v->dtype, s->given = 1;
    for (int d = 0; d < 4; d++) {
        s->ne[d] = v->ne[d];
        if (v->dtype != LF_A8) s->step[d] = lf_size_of(v->dtype, v->stride[d]);
    }
    if (v->dtype != LF_A8) return;
    s->step[0] = 0, s->step[1] = lf_a8_stride(v->ne[0]);
    s->step[2] = s->step[1] * v->ne[1], s->step[3] = s->step[2] * v->ne[2];
}

static uint32_t lf_parts(int64_t n, int each) { return (uint32_t)((n + each - 1) / each); }

/* A thread a value, for n values. */
static void lf_for_values(lf_launch *l, int64_t n) { l->threads = 256, l->groups[0] = lf_parts(n, 256); }

/* Products: few columns by simdgroups that each have a row of weights, many by tiles. */
static void lf_for_product(lf_launch *l, const lf_shape *out, const lf_shape *w, int integers) {
    if (out->ne[1] <= LF_FEW) {
        strcpy(l->kernel, integers ? "lf_few_integers_rows" : "lf_few_floats_rows");
        l->threads = LF_FEW_SIMDS * LF_SIMD;
        l->groups[0] = lf_parts(w->ne[1], LF_FEW_SIMDS), l->groups[1] = lf_parts(out->ne[1], LF_FEW);
        return;
    }
    strcpy(l->kernel, integers ? "lf_many_integers_rows" : "lf_many_floats_rows");
    l->threads = LF_TILE_THREADS, l->room = 2 * LF_TILE * LF_TILE * 4;
    l->groups[0] = lf_parts(w->ne[1], LF_TILE), l->groups[1] = lf_parts(out->ne[1], LF_TILE);
}

/* Fill in everything for an op's record; 0 where there is nothing to do. data[i] is operand i's address, or 0. */
static int lf_prepare_launch(const lf_op *op, const lf_view *views, const int32_t *pool, lf_arguments *a, void **data, lf_launch *l) {
    const int32_t *args = pool + op->args;
    int operands = op->n_out + op->n_in;
    memset(a, 0, sizeof *a);
    memset(l, 0, sizeof *l);
    for (int i = 0; i < LF_MOST; i++) data[i] = 0;
    for (int i = 0; i < operands; i++) {
        if (args[i] == LF_NONE) continue;
        lf_tell_shape(&views[args[i]], &a->of[i]);
        data[i] = views[args[i]].data;
    }
    memcpy(a->attr, args + operands, sizeof(int32_t) * op->n_attr);
    snprintf(l->kernel, sizeof l->kernel, "lf_%s", lf_specs[op->op].name);
    l->groups[0] = l->groups[1] = 1;
    const lf_shape *o = a->of;
    int64_t rows = (int64_t)o[0].ne[1] * o[0].ne[2] * o[0].ne[3];
    switch (op->op) {
    case LF_OP_RMS_NORM: case LF_OP_ADD_RMS_NORM:
        l->groups[0] = (uint32_t)rows, l->threads = LF_NORM_THREADS, l->room = LF_NORM_THREADS / LF_SIMD * 4;
        return rows > 0;
    case LF_OP_ROTATION: lf_for_values(l, (int64_t)o[1].ne[0] * o[2].ne[0]); break;
    case LF_OP_ROPE: lf_for_values(l, (o[1].ne[0] + 1) / 2 * rows); break;
    case LF_OP_ATTENTION: {
        int width = o[1].ne[0] > o[3].ne[0] ? o[1].ne[0] : o[3].ne[0];
        l->groups[0] = (uint32_t)(o[1].ne[1] * o[1].ne[2]), l->threads = LF_ATTENTION_SIMDS * LF_SIMD;
        l->room = (uint32_t)((LF_ATTENTION_SIMDS * width + 2 * LF_ATTENTION_SIMDS) * 4);
        break;
    }
    case LF_OP_EMBED: lf_for_values(l, (int64_t)o[1].ne[0] * lf_parts(o[2].ne[0], 32)); break;
    case LF_OP_STORE: l->groups[0] = (uint32_t)(o[0].ne[1] * o[3].ne[0]); l->threads = 64, l->room = (uint32_t)o[0].ne[0] * 4; break;
    case LF_OP_ROPE_CELLS: l->groups[0] = (uint32_t)(o[0].ne[1] * o[3].ne[0]); l->threads = 64, l->room = (uint32_t)(o[0].ne[0] + 31) * 4; break;
    case LF_OP_MOVE_CELLS: lf_for_values(l, o[2].ne[0] ? (o[0].step[2] + 1) / 2 : 0); break;
    case LF_OP_QUANTIZE_ROWS:
        l->groups[0] = lf_parts(o[1].ne[0] / 32 * rows, 4), l->threads = 4 * LF_SIMD;
        break;
    case LF_OP_MATMUL: lf_for_product(l, &o[0], &o[2], 0); break;
    case LF_OP_MATMUL_QUANTIZED: lf_for_product(l, &o[0], &o[2], 1); break;
    case LF_OP_MATMUL_IDS: case LF_OP_MATMUL_IDS_QUANTIZED:
        l->groups[0] = lf_parts(o[2].ne[1], LF_FEW_SIMDS), l->groups[1] = (uint32_t)(o[3].ne[0] * o[3].ne[1]);
        l->threads = LF_FEW_SIMDS * LF_SIMD;
        break;
    case LF_OP_ROUTE: lf_for_values(l, o[2].ne[1]); break;
    default: lf_for_values(l, o[0].ne[0] * rows);
    }
    return l->groups[0] && l->groups[1];
}

static int lf_serves(const lf_op *op, const int32_t *args, const lf_tensor *tensors) {
#define DTYPE(operand) (tensors[args[operand]].dtype)
    switch (op->op) {
    case LF_OP_STORE: return lf_is_cell(DTYPE(2));
    case LF_OP_ROPE_CELLS: return lf_is_cell(DTYPE(1));
    case LF_OP_ATTENTION: return (lf_is_float(DTYPE(2)) || lf_is_quant(DTYPE(2))) && (lf_is_float(DTYPE(3)) || lf_is_quant(DTYPE(3)));
    case LF_OP_EMBED: return lf_is_float(DTYPE(2)) || lf_is_quant(DTYPE(2));
    case LF_OP_MATMUL: case LF_OP_MATMUL_IDS: return lf_is_float(DTYPE(2));
    case LF_OP_MATMUL_QUANTIZED: case LF_OP_MATMUL_IDS_QUANTIZED: return lf_is_quant(DTYPE(2));
    }
#undef DTYPE
    return op->op < LF_COMMON_OPS;
}
#endif
