/* Attention on matrix units: a block of four warps takes up to 64 query heads that read the same KV head, page after page.

   Wide: each warp has 16 rows (a row is a token's query head) and sees whole pages. Narrow, where a sequence has at most 16
   rows, as when decoding: all warps have the same rows and each a quarter of every page's cells; they are combined at the
   end. Keys and values come as half floats, whatever the cache's format; scores and sums are f32. */
#ifndef LF_FLASH_H
#define LF_FLASH_H
#include "encode.h"
#include "few.h"

enum { LF_FLASH_WARPS = 4, LF_FLASH_THREADS = 128 };

/* Shared memory: pages of keys and values, where their cells are, and for each page of the split whether it is looked at. */
template <int D> struct lf_flash_room {
    enum {
        row = D * 2 + 16, page = LF_PAGE * row, stage = 2 * page + LF_PAGE * 4,
        kept = D > 128 ? 32 : D, /* values of a query that registers hold; the others lie in shared memory */
        query_row = (D - kept) * 2 + 16, query = D > kept ? 64 * query_row : 0
    };
};

enum { LF_PAGE_UNSEEN, LF_PAGE_PARTLY, LF_PAGE_WHOLE };

/* One page of keys or values of a head into shared memory, cells that are not in use as zeros. */
template <int D>
LF_DEV void lf_load_cells(const lf_cells &cells, int64_t first, int head, int count, char *to) {
    enum { row = lf_flash_room<D>::row };
    const char *from = lf_cell_at(cells, first, head);
    int t = D > 128 ? lf_fresh((int)threadIdx.x) : (int)threadIdx.x; /* with large sums no address is kept from page to page */
    if (cells.dtype == LF_F16) {
        for (int i = t; i < LF_PAGE * (D / 8); i += LF_FLASH_THREADS) {
            int c = i / (D / 8), part = i % (D / 8);
            char *at = to + c * row + part * 16;
            if (c < count)
                lf_copy_async(at, from + c * cells.cell + part * 16);
            else
                *(uint4 *)at = make_uint4(0, 0, 0, 0);
        }
        return;
    }
    for (int i = t; i < LF_PAGE * ((D + 31) / 32); i += LF_FLASH_THREADS) {
        int c = i / ((D + 31) / 32), s = i % ((D + 31) / 32);
        float y[32];
        for (int j = 0; j < 32; j++) y[j] = 0.0f;
        if (c < count) lf_cell_quants(cells.dtype, from + c * cells.cell, s, y);
        uint32_t *at = (uint32_t *)(to + c * row + s * 64);
#pragma unroll
        for (int j = 0; j < 16; j++)
            if (32 * s + 2 * j < D) at[j] = lf_half2(y[2 * j], y[2 * j + 1]);
    }
}

/* The rows of a block's tile: tokens of one sequence with the query heads of one KV head. */
typedef struct {
    int sequence, first, count, length, pages; /* first token and how many; cells and pages of the sequence */
} lf_flash_tile;

LF_DEV bool lf_find_rows(const lf_attend &a, int tile, int tokens, lf_flash_tile *f) {
    for (int s = 0; s < a.sequences; s++) {
        int rows = a.starts[s + 1] - a.starts[s], tiles = (rows + tokens - 1) / tokens;
        if (tile < tiles) {
            f->sequence = s, f->first = a.starts[s] + tile * tokens;
            f->count = rows - tile * tokens < tokens ? rows - tile * tokens : tokens;
            f->length = a.lengths[s];
            f->pages = (f->length + LF_PAGE - 1) / LF_PAGE;
            return true;
        }
        tile -= tiles;
    }
    return false;
}

/* The least and the greatest of `width` neighbouring lanes' numbers, for each of them. */
LF_DEV void lf_span_lanes(int *least, int *most, int width) {
    for (int m = width / 2; m; m /= 2) {
        int low = __shfl_xor_sync(LF_ALL, *least, m, LF_WARP), high = __shfl_xor_sync(LF_ALL, *most, m, LF_WARP);
        *least = low < *least ? low : *least, *most = high > *most ? high : *most;
    }
}

/* What the tile's rows see of pages first .. last: a byte each. Eight lanes look at a page. */
LF_DEV void lf_look_at_pages(const lf_attend &a, const lf_flash_tile &f, int first, int last, uint8_t *seen) {
    int least = INT32_MAX, most = INT32_MIN;
    for (int i = lf_lane(); i < f.count; i += LF_WARP) {
        int p = a.positions[f.first + i];
        least = p < least ? p : least, most = p > most ? p : most;
    }
    lf_span_lanes(&least, &most, LF_WARP);
    for (int base = first; base < last; base += LF_FLASH_THREADS / 8) {
        int page = base + (int)threadIdx.x / 8, lane = (int)threadIdx.x % 8, early = INT32_MAX, late = INT32_MIN;
        int count = page < last ? f.length - page * LF_PAGE : 0;
        if (count > LF_PAGE) count = LF_PAGE;
        if (count > 0) {
            const int4 *where = (const int4 *)(a.where + (int64_t)a.pages[f.sequence * a.page_step + page] * LF_PAGE) + 2 * lane;
            int4 four[2] = {where[0], where[1]};
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const int4 &w = four[i / 4];
                int p = i % 4 == 0 ? w.x : i % 4 == 1 ? w.y : i % 4 == 2 ? w.z : w.w;
                if (8 * lane + i < count) early = p < early ? p : early, late = p > late ? p : late;
            }
        }
        lf_span_lanes(&early, &late, 8);
        if (lane || page >= last) continue;
        bool after = a.causal && early > most, before = a.window && least - late >= a.window;
        bool inside = (!a.causal || late <= least) && (!a.window || (most - early < a.window && late - least < a.window));
        seen[page - first] = after || before ? LF_PAGE_UNSEEN : inside && count == LF_PAGE ? LF_PAGE_WHOLE : LF_PAGE_PARTLY;
    }
}

/* Blocks of threads that a processor should hold: of heads of 64 three, but shared memory of the newest small cards holds two. */
template <int D> struct lf_flash_blocks {
    enum { at_once = D <= 64 && LF_SM < 1200 ? 3 : D <= 128 ? 2 : 1 };
};

template <int D, bool narrow>
LF_KERNEL void __launch_bounds__(LF_FLASH_THREADS, lf_flash_blocks<D>::at_once) lf_flash(lf_attend a, int tokens, int stages) {
    lf_begin();
    if (D > 128 && LF_SM < 800) return; /* never launched: not even one page fits in shared memory */
    typedef lf_flash_room<D> room_of;
    enum { CELLS = narrow ? LF_PAGE / LF_FLASH_WARPS : LF_PAGE, NS = CELLS / 8, NO = D / 8, KQ = D / 16, KEPT = room_of::kept / 16 };
    LF_SHARED(room);
    __shared__ float combined[2][LF_FLASH_WARPS][16];
    int split = (int)blockIdx.x, kv_head = (int)blockIdx.y, lane = lf_lane(), warp = lf_warp();
    lf_flash_tile f;
    if (!lf_find_rows(a, (int)blockIdx.z, tokens, &f)) return;
    int each = lf_pages_a_split(a, f.pages), first_page = split * each, last_page = first_page + each < f.pages ? first_page + each : f.pages;
    if (a.parts && first_page >= f.pages) return;
    char *queries = room + stages * room_of::stage;
    uint8_t *seen = (uint8_t *)(queries + room_of::query);
    lf_look_at_pages(a, f, first_page, last_page, seen);
    __syncthreads();

    /* This lane's two rows: lane / 4 of the warp's sixteen, and eight below. */
    int rows = f.count * a.group, position[2];
    float slope[2];
    auto row_of = [&](int v) {
        int r = (narrow ? 0 : 16 * lf_warp()) + lf_fresh(lf_lane()) / 4 + 8 * v;
        return r < rows ? r : rows - 1;
    };
    auto token_of = [&](int v) { return f.first + row_of(v) / a.group; };
    auto head_of = [&](int v) { return kv_head * a.group + row_of(v) % a.group; };
    auto look_up = [&]() {
#pragma unroll
        for (int v = 0; v < 2; v++) {
            position[v] = a.positions[token_of(v)];
            slope[v] = a.slopes ? a.slopes[head_of(v)] : 0.0f;
        }
    };
    if (D <= 128) look_up(); /* else where they are wanted, which is seldom: the sums take what registers there are */
    uint32_t query[KEPT][4];
    {
        const float *q0 = lf_row_at(a.q, (int64_t)token_of(0) * a.heads + head_of(0));
        const float *q1 = lf_row_at(a.q, (int64_t)token_of(1) * a.heads + head_of(1));
#pragma unroll
        for (int k = 0; k < KQ; k++)
#pragma unroll
            for (int part = 0; part < 2; part++) {
                int i = 16 * k + 8 * part + lane % 4 * 2;
                uint32_t upper = lf_half2(q0[i] * a.scale, q0[i + 1] * a.scale), lower = lf_half2(q1[i] * a.scale, q1[i + 1] * a.scale);
                if (k < KEPT) {
                    query[k][2 * part] = upper, query[k][2 * part + 1] = lower;
                } else {
                    uint32_t *at = (uint32_t *)(queries + (16 * warp + lane / 4) * room_of::query_row) + i / 2 - 8 * KEPT;
                    at[0] = upper, at[2 * room_of::query_row] = lower; /* eight rows below */
                }
            }
        __syncwarp();
    }
    float out[NO][4], most[2] = {-INFINITY, -INFINITY}, all[2] = {0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < NO; i++) out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0.0f;

    auto load = [&](int page, int stage) {
        if (page < last_page) {
            char *at = room + stage * room_of::stage;
            int64_t cell = (int64_t)a.pages[f.sequence * a.page_step + page] * LF_PAGE;
            int count = f.length - page * LF_PAGE < LF_PAGE ? f.length - page * LF_PAGE : LF_PAGE;
            lf_load_cells<D>(a.k, cell, kv_head, count, at);
            lf_load_cells<D>(a.v, cell, kv_head, count, at + room_of::page);
            if (threadIdx.x < LF_PAGE) ((int32_t *)(at + 2 * room_of::page))[threadIdx.x] = a.where[cell + threadIdx.x];
        }
        lf_copy_commit();
    };
    auto after = [&](int page) {
        do page++;
        while (page < last_page && seen[page - first_page] == LF_PAGE_UNSEEN);
        return page;
    };

    int page = after(first_page - 1), stage = 0;
    load(page, 0);
    while (page < last_page) {
        int next = after(page);
        if (stages > 1) {
            load(next, stage ^ 1);
            lf_copy_wait<1>();
        } else {
            lf_copy_wait<0>();
        }
        __syncthreads();
        const char *keys = room + stage * room_of::stage + (narrow ? warp * CELLS * room_of::row : 0);
        const char *values = keys + room_of::page;
        const int32_t *where = (const int32_t *)(room + stage * room_of::stage + 2 * room_of::page) + (narrow ? warp * CELLS : 0);
        float score[NS][4];
#pragma unroll
        for (int j = 0; j < NS; j++) score[j][0] = score[j][1] = score[j][2] = score[j][3] = 0.0f;
#pragma unroll
        for (int k = 0; k < KQ; k++) {
            uint32_t part[4];
            const uint32_t *mine = k < KEPT ? query[k < KEPT ? k : 0] : part;
            if (k >= KEPT)
                lf_load_matrices<false>(part, queries + (16 * warp + lane % 16) * room_of::query_row + 32 * (k - KEPT) + lane / 16 * 16);
#pragma unroll
            for (int j = 0; j < NS; j += 2) {
                uint32_t b[4];
                lf_load_matrices<false>(b, keys + (8 * j + lane / 16 * 8 + lane % 8) * room_of::row + 32 * k + lane / 8 % 2 * 16);
                lf_mma_f16(score[j], mine, b);
                lf_mma_f16(score[j + 1], mine, b + 2);
            }
        }
        if (a.cap != 0.0f) {
#pragma unroll
            for (int j = 0; j < NS; j++)
#pragma unroll
                for (int v = 0; v < 4; v++) score[j][v] = a.cap * tanhf(score[j][v] / a.cap);
        }
        if (a.slopes || seen[page - first_page] != LF_PAGE_WHOLE) {
            int count = f.length - page * LF_PAGE - (narrow ? warp * CELLS : 0);
            if (D > 128) look_up();
#pragma unroll
            for (int j = 0; j < NS; j++)
#pragma unroll
                for (int v = 0; v < 4; v++) {
                    int c = 8 * j + lane % 4 * 2 + v % 2, distance = position[v / 2] - where[c], away = distance < 0 ? -distance : distance;
                    bool hidden = c >= count || (a.causal && distance < 0) || (a.window && away >= a.window);
                    score[j][v] = hidden ? -INFINITY : score[j][v] - slope[v / 2] * (float)distance;
                }
        }
        float under[2];
#pragma unroll
        for (int v = 0; v < 2; v++) {
            float top = most[v];
#pragma unroll
            for (int j = 0; j < NS; j++) top = fmaxf(top, fmaxf(score[j][2 * v], score[j][2 * v + 1]));
            top = fmaxf(top, __shfl_xor_sync(LF_ALL, top, 1, LF_WARP));
            top = fmaxf(top, __shfl_xor_sync(LF_ALL, top, 2, LF_WARP));
            under[v] = top == -INFINITY ? 0.0f : top;
            float shrink = lf_exp(most[v] - under[v]);
            most[v] = top;
            all[v] *= shrink;
#pragma unroll
            for (int i = 0; i < NO; i++) out[i][2 * v] *= shrink, out[i][2 * v + 1] *= shrink;
        }
#pragma unroll
        for (int j = 0; j < NS; j++)
#pragma unroll
            for (int v = 0; v < 4; v++) {
                score[j][v] = lf_exp(score[j][v] - under[v / 2]);
                all[v / 2] += score[j][v];
            }
#pragma unroll
        for (int k = 0; k < CELLS / 16; k++) {
            uint32_t weight[4] = {lf_half2(score[2 * k][0], score[2 * k][1]), lf_half2(score[2 * k][2], score[2 * k][3]),
                                  lf_half2(score[2 * k + 1][0], score[2 * k + 1][1]), lf_half2(score[2 * k + 1][2], score[2 * k + 1][3])};
#pragma unroll
            for (int i = 0; i < NO; i += 2) {
                uint32_t b[4];
                lf_load_matrices<true>(b, values + (16 * k + lane / 8 % 2 * 8 + lane % 8) * room_of::row + 16 * i + lane / 16 * 16);
                lf_mma_f16(out[i], weight, b);
                lf_mma_f16(out[i + 1], weight, b + 2);
            }
        }
        __syncthreads();
        if (stages == 1) load(next, 0);
        stage ^= stages - 1;
        page = next;
    }
    lf_copy_wait<0>();
#pragma unroll
    for (int v = 0; v < 2; v++) {
        all[v] += __shfl_xor_sync(LF_ALL, all[v], 1, LF_WARP);
        all[v] += __shfl_xor_sync(LF_ALL, all[v], 2, LF_WARP);
    }

    float *shared_out = (float *)room;
    if (narrow) { /* the warps' parts under one maximum, added in order */
        __syncthreads();
        if (lane % 4 == 0)
            for (int v = 0; v < 2; v++) combined[0][warp][lane / 4 + 8 * v] = most[v], combined[1][warp][lane / 4 + 8 * v] = all[v];
        __syncthreads();
        float shrink[2];
#pragma unroll
        for (int v = 0; v < 2; v++) {
            float top = -INFINITY, mine = most[v];
            for (int w = 0; w < LF_FLASH_WARPS; w++) top = fmaxf(top, combined[0][w][lane / 4 + 8 * v]);
            float base = top == -INFINITY ? 0.0f : top;
            all[v] = 0.0f;
            for (int w = 0; w < LF_FLASH_WARPS; w++)
                all[v] += combined[1][w][lane / 4 + 8 * v] * lf_exp(combined[0][w][lane / 4 + 8 * v] - base);
            shrink[v] = lf_exp(mine - base);
            most[v] = top;
        }
        for (int w = 0; w < LF_FLASH_WARPS; w++) {
            if (w == warp) {
#pragma unroll
                for (int i = 0; i < NO; i++)
#pragma unroll
                    for (int v = 0; v < 4; v++) {
                        float *at = shared_out + (lane / 4 + v / 2 * 8) * D + 8 * i + lane % 4 * 2 + v % 2;
                        *at = (w ? *at : 0.0f) + out[i][v] * shrink[v / 2];
                        out[i][v] = *at;
                    }
            }
            __syncthreads();
        }
        if (warp != LF_FLASH_WARPS - 1) return;
    }
#pragma unroll
    for (int v = 0; v < 2; v++) {
        if ((narrow ? 0 : 16 * warp) + lane / 4 + 8 * v >= rows) continue;
        int64_t row = (int64_t)token_of(v) * a.heads + head_of(v);
        float *to = a.parts ? a.parts + (row * a.splits + split) * (D + 2) + 2 : lf_row_at(a.out, row);
        float by = a.parts ? 1.0f : all[v] > 0.0f ? 1.0f / all[v] : 0.0f;
        if (a.parts && lane % 4 == 0) to[-2] = most[v], to[-1] = all[v];
#pragma unroll
        for (int i = 0; i < NO; i++) ((float2 *)(to + 8 * i))[lane % 4] = make_float2(out[i][2 * v] * by, out[i][2 * v + 1] * by);
    }
}

#ifdef __HIPCC__
static bool lf_flash_attention(const lf_call *, lf_attend *) { return false; }
#else
template <int D> static bool lf_launch_flash(const lf_call *call, lf_attend *t, bool narrow) {
    lf_device *d = lf_device_of(call);
    int tokens = (narrow ? 16 : 64) / t->group;
    int tiles = (t->rows + t->sequences * (tokens - 1)) / tokens; /* however the rows are shared by the sequences */
    lf_plan_splits(call, t, (int64_t)tiles * t->k.heads, (narrow ? 3 : 2) * d->processors);
    auto *kernel = narrow ? lf_flash<D, true> : lf_flash<D, false>;
    for (int stages = 2; stages; stages--) {
        size_t room = (size_t)stages * lf_flash_room<D>::stage + lf_flash_room<D>::query + (size_t)(t->split_pages + 15) / 16 * 16;
        if (!lf_allow_shared(d, kernel, room)) continue;
        dim3 grid((unsigned)t->splits, (unsigned)t->k.heads, (unsigned)tiles);
        {
            lf_alone alone((int64_t)t->splits * t->k.heads * tiles > d->processors);
            LF_LAUNCH(kernel, grid, dim3(LF_FLASH_THREADS), room, d->stream, *t, tokens, stages);
        }
        if (t->splits > 1) lf_launch_combine(d, t);
        return true;
    }
    return false;
}

/* Whether rows of heads begin on a multiple of 8 bytes, and cells of half floats on one of 16. */
static bool lf_flash_can_read(const lf_attend *t) {
    int64_t odd = t->q.s1 % 2 | t->q.s2 % 2 | t->out.s1 % 2 | t->out.s2 % 2 | ((intptr_t)t->out.data & 7);
    odd |= (intptr_t)t->where & 15;
    if (t->k.dtype == LF_F16) odd |= (t->k.cell | t->k.head | (intptr_t)t->k.data) & 15;
    if (t->v.dtype == LF_F16) odd |= (t->v.cell | t->v.head | (intptr_t)t->v.data) & 15;
    return !odd;
}

/* Attention on matrix units; false where the card, the format or the size of heads want the kernel for any. */
static bool lf_flash_attention(const lf_call *call, lf_attend *t) {
    lf_device *d = lf_device_of(call);
    auto coarse = [](int dtype) { return dtype == LF_F16 || (lf_is_quant(dtype) && lf_encodes(dtype)); };
    if (!lf_has_matrices(d) || !coarse(t->k.dtype) || !coarse(t->v.dtype) || t->k.size != t->v.size || t->group > 64 || !lf_flash_can_read(t))
        return false;
    bool narrow = t->group <= 16 && (int64_t)t->rows * t->group <= 16 * t->sequences;
    switch (t->k.size) {
    case 64: return lf_launch_flash<64>(call, t, narrow);
    case 80: return lf_launch_flash<80>(call, t, narrow);
    case 96: return lf_launch_flash<96>(call, t, narrow);
    case 128: return lf_launch_flash<128>(call, t, narrow);
    case 256: return d->code >= 80 && lf_launch_flash<256>(call, t, narrow); /* older code has no kernel of that size */
    }
    return false;
}
#endif
#endif
