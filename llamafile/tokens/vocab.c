/* Opens a vocabulary: walks the strings where the file has them, bounds-checked, and hashes them. */
#include "vocab.h"

#include <stdlib.h>

#include "unicode.h"

enum { LF_AHEAD = 32 }; /* strings hashed before they are stored, so that the table's cache misses overlap */

typedef struct {
    uint64_t hash;
    uint32_t index, size;
} lf_entry;

/* Put the start of each of the strings' texts into a new array; return an error code. */
static int lf_walk_strings(const lf_vocab_array *strings, uint32_t width, uint32_t **at)
{
    const uint8_t *data = strings->data;
    const uint64_t size = strings->nbytes;
    if (size > UINT32_MAX - 8 || strings->count >= INT32_MAX) return LF_TOKENS_BIG;
    if (strings->count > size / width) return LF_TOKENS_CUT;
    uint32_t *starts = malloc((strings->count + 1) * sizeof *starts);
    if (!starts) return LF_TOKENS_MEMORY;
    uint64_t position = 0;
    for (uint64_t i = 0; i < strings->count; i++) {
        uint64_t wide = 0;
        uint32_t narrow = 0;
        if (size - position >= width) {
            if (width == 8)
                memcpy(&wide, data + position, 8);
            else
                memcpy(&narrow, data + position, 4);
            wide |= narrow;
            position += width;
        } else {
            wide = UINT64_MAX;
        }
        if (wide > size - position) {
            free(starts);
            return LF_TOKENS_CUT;
        }
        starts[i] = (uint32_t)position;
        position += wide;
    }
    starts[strings->count] = (uint32_t)(position + width);
    *at = starts;
    return LF_TOKENS_OK;
}

static int lf_table_open(lf_table *table, uint64_t entries)
{
    unsigned bits = 4;
    while ((UINT64_C(5) << bits) < entries * 8) bits++;
    table->index = 1;
    while (table->index < entries) table->index = table->index << 1 | 1;
    table->slots = calloc((size_t)1 << bits, sizeof *table->slots);
    table->mask = (UINT64_C(1) << bits) - 1;
    table->shift = 64 - bits;
    return table->slots ? LF_TOKENS_OK : LF_TOKENS_MEMORY;
}

/* The bits of a mixed hash behind those of its slot, as many as the index leaves. */
static inline uint32_t lf_slot_tag(const lf_table *table, uint64_t mixed)
{
    return (uint32_t)(mixed << (64 - table->shift) >> 32) & ~table->index;
}

/* Store an entry; of equal texts the one stored first stays. `data` and `at` are the strings of the table. */
static int lf_table_store(lf_table *table, const lf_entry *entry, const uint8_t *data, const uint32_t *at,
                          uint32_t width)
{
    const uint64_t mixed = entry->hash * LF_HASH_MIX;
    const uint32_t tag = lf_slot_tag(table, mixed);
    uint64_t slot = mixed >> table->shift;
    for (int probe = 0; probe < LF_PROBE_LIMIT; probe++, slot = (slot + 1) & table->mask) {
        const uint32_t there = table->slots[slot];
        if (!there) {
            table->slots[slot] = tag | (entry->index + 1);
            return LF_TOKENS_OK;
        }
        if ((there ^ tag) & ~table->index) continue;
        const uint32_t other = (there & table->index) - 1;
        if (at[other + 1] - at[other] - width == entry->size
            && !memcmp(data + at[other], data + at[entry->index], entry->size))
            return LF_TOKENS_OK;
    }
    return LF_TOKENS_COLLIDE;
}

/* Hash `count` strings of at most `limit` bytes into a new table, from the last to the first if `backwards`; also
   return the longest size. */
static int lf_table_fill(lf_table *table, const uint8_t *data, const uint32_t *at, uint32_t count, uint32_t width,
                         int backwards, uint32_t *longest)
{
    lf_entry entries[LF_AHEAD];
    int error = lf_table_open(table, count);
    for (uint32_t done = 0; done < count && !error;) {
        unsigned n = 0;
        for (; n < LF_AHEAD && done < count; done++) {
            lf_entry *e = &entries[n];
            e->index = backwards ? count - 1 - done : done;
            e->size = at[e->index + 1] - at[e->index] - width;
            e->hash = lf_hash_text(data + at[e->index], e->size);
            __builtin_prefetch(&table->slots[e->hash * LF_HASH_MIX >> table->shift], 1);
            if (e->size <= LF_MERGE_LIMIT && e->size > *longest) *longest = e->size;
            n++;
        }
        for (unsigned i = 0; i < n && !error; i++) error = lf_table_store(table, &entries[i], data, at, width);
    }
    return error;
}

int32_t lf_vocab_find(const lf_vocab *v, uint64_t hash, const uint8_t *text, size_t size)
{
    const uint64_t mixed = hash * LF_HASH_MIX;
    const uint32_t tag = lf_slot_tag(&v->by_text, mixed);
    uint64_t slot = mixed >> v->by_text.shift;
    for (int probe = 0; probe < LF_PROBE_LIMIT; probe++, slot = (slot + 1) & v->by_text.mask) {
        const uint32_t there = v->by_text.slots[slot];
        if (!there) break;
        if ((there ^ tag) & ~v->by_text.index) continue;
        const uint32_t id = (there & v->by_text.index) - 1, start = v->token_at[id];
        if (v->token_at[id + 1] - start - v->width == size && !memcmp(v->tokens + start, text, size))
            return (int32_t)id;
    }
    return -1;
}

uint32_t lf_vocab_rank(const lf_vocab *v, uint64_t hash, const uint8_t *text, size_t left, size_t right)
{
    const uint64_t mixed = hash * LF_HASH_MIX;
    const uint32_t tag = lf_slot_tag(&v->by_merge, mixed);
    uint64_t slot = mixed >> v->by_merge.shift;
    for (int probe = 0; probe < LF_PROBE_LIMIT; probe++, slot = (slot + 1) & v->by_merge.mask) {
        const uint32_t there = v->by_merge.slots[slot];
        if (!there) break;
        if ((there ^ tag) & ~v->by_merge.index) continue;
        const uint32_t rank = (there & v->by_merge.index) - 1, start = v->merge_at[rank];
        const uint8_t *merge = v->merges + start;
        if (v->merge_at[rank + 1] - start - v->width == left + 1 + right && !memcmp(merge, text, left)
            && merge[left] == ' ' && !memcmp(merge + left + 1, text + left, right))
            return rank;
    }
    return LF_NO_PRIORITY;
}

int32_t lf_token_id(const lf_vocab *v, const void *text, uint64_t size)
{
    return lf_vocab_find(v, lf_hash_text(text, size), text, size);
}

int32_t lf_token_kind(const lf_vocab *v, int32_t id)
{
    return id >= 0 && (uint32_t)id < v->n_tokens ? v->kind[id] : 0;
}

static int lf_read_kinds(lf_vocab *v, const lf_vocab_array *types)
{
    v->kind = malloc(v->n_tokens + 1u);
    if (!v->kind) return LF_TOKENS_MEMORY;
    memset(v->kind, LF_TOKEN_NORMAL, v->n_tokens + 1u);
    if (!types->data) return LF_TOKENS_OK;
    if (types->count < v->n_tokens || types->nbytes / 4 < v->n_tokens) return LF_TOKENS_CUT;
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        int32_t type;
        memcpy(&type, (const uint8_t *)types->data + 4 * (size_t)i, 4);
        v->kind[i] = type >= LF_TOKEN_NORMAL && type <= LF_TOKEN_BYTE ? (uint8_t)type : LF_TOKEN_UNUSED;
    }
    return LF_TOKENS_OK;
}

/* Turn scores, of which high ones come first, into numbers of which low ones do. */
static int lf_read_scores(lf_vocab *v, const lf_vocab_array *scores)
{
    if (scores->count < v->n_tokens || scores->nbytes / 4 < v->n_tokens) return LF_TOKENS_CUT;
    v->priority = malloc((v->n_tokens + 1u) * sizeof *v->priority);
    if (!v->priority) return LF_TOKENS_MEMORY;
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        float score;
        uint32_t bits;
        memcpy(&score, (const uint8_t *)scores->data + 4 * (size_t)i, 4);
        score += 0.0f; /* both zeros are one */
        memcpy(&bits, &score, 4);
        bits = bits & 0x80000000u ? bits : ~bits & 0x7FFFFFFFu;
        const int plain = v->kind[i] == LF_TOKEN_NORMAL || v->kind[i] == LF_TOKEN_USER_DEFINED
                          || v->kind[i] == LF_TOKEN_UNUSED;
        v->priority[i] = !plain ? LF_NO_PRIORITY : score != score ? LF_NO_PRIORITY - 1 : bits;
    }
    return LF_TOKENS_OK;
}

/* BPE vocabularies write the bytes that are printable in Latin-1 as those characters, the others as U+0100 and up. */
static void lf_read_byte_alphabet(lf_vocab *v)
{
    uint32_t next = 256;
    memset(v->byte_of, -1, sizeof v->byte_of);
    for (uint32_t byte = 0; byte < 256; byte++) {
        const int plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        const uint32_t code = plain ? byte : next++;
        lf_byte_character *c = &v->byte[byte];
        c->size = code < 0x80 ? 1 : 2;
        c->text[0] = (uint8_t)(code < 0x80 ? code : 0xC0 | code >> 6);
        c->text[1] = (uint8_t)(0x80 | (code & 0x3F));
        c->hash = lf_hash_text(c->text, c->size);
        c->id = lf_vocab_find(v, c->hash, c->text, c->size);
        v->byte_of[code] = (int16_t)byte;
    }
}

/* SPM vocabularies have a token <0x41> for the byte 41. */
static void lf_read_byte_tokens(lf_vocab *v)
{
    static const char digit[] = "0123456789ABCDEF";
    for (unsigned byte = 0; byte < 256; byte++) {
        const char text[6] = {'<', '0', 'x', digit[byte >> 4], digit[byte & 15], '>'};
        const int32_t id = lf_token_id(v, text, sizeof text);
        v->byte[byte].id = id >= 0 && v->kind[id] == LF_TOKEN_BYTE ? id : -1;
    }
}

static int lf_special_order(const void *left, const void *right)
{
    const lf_special *a = left, *b = right;
    const int order = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
    if (order) return order;
    if (a->size != b->size) return a->size < b->size ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

static int lf_is_special(uint8_t kind)
{
    return kind == LF_TOKEN_CONTROL || kind == LF_TOKEN_UNKNOWN || kind == LF_TOKEN_USER_DEFINED;
}

static int lf_read_specials(lf_vocab *v)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < v->n_tokens; i++) count += lf_is_special(v->kind[i]);
    v->specials = malloc((count + 1u) * sizeof *v->specials);
    if (!v->specials) return LF_TOKENS_MEMORY;
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        size_t size;
        if (!lf_is_special(v->kind[i])) continue;
        const uint8_t *text = lf_token_text(v, i, &size);
        /* One that is no UTF-8 would cut a text inside a character. */
        if (!size || size > LF_SPECIAL_LIMIT || lf_utf8_valid(text, size) != size) continue;
        v->specials[v->n_specials++] = (lf_special){text, (uint32_t)size, (int32_t)i};
        v->special_first[1][*text] = 1;
        v->special_first[0][*text] |= v->kind[i] == LF_TOKEN_USER_DEFINED;
    }
    qsort(v->specials, v->n_specials, sizeof *v->specials, lf_special_order);
    uint32_t at = 0;
    for (unsigned first = 0; first < 257; first++) {
        while (at < v->n_specials && *v->specials[at].text < first) at++;
        v->special_start[first] = at;
    }
    return LF_TOKENS_OK;
}

/* Note which characters stand side by side in tokens: between others, no merge reaches across. */
static int lf_read_joins(lf_vocab *v)
{
    unsigned bits = 12;
    while ((UINT64_C(1) << bits) < (uint64_t)v->n_tokens * 8) bits++;
    v->joins_shift = 64 - bits;
    v->joins = calloc((size_t)1 << (bits - 3), 1);
    if (!v->joins) return LF_TOKENS_MEMORY;
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        size_t size;
        const uint8_t *text = lf_token_text(v, i, &size), *end = text + size;
        if (v->priority[i] == LF_NO_PRIORITY || size > LF_MERGE_LIMIT || lf_utf8_valid(text, size) != size) continue;
        for (uint32_t left = 0, right; text < end; left = right) {
            right = lf_utf8_code(text) + 1; /* so that 0 is no character */
            text += lf_utf8_size(*text);
            if (!left) continue;
            const uint32_t bit = lf_vocab_join(v, left, right);
            v->joins[bit >> 3] |= (uint8_t)(1 << (bit & 7));
        }
    }
    return LF_TOKENS_OK;
}

static int lf_read_powers(lf_vocab *v)
{
    v->power = malloc((v->longest + 1u) * sizeof *v->power);
    if (!v->power) return LF_TOKENS_MEMORY;
    v->power[0] = 1;
    for (uint32_t i = 1; i <= v->longest; i++) v->power[i] = v->power[i - 1] * LF_HASH_BASE;
    return LF_TOKENS_OK;
}

static int lf_read_merges(lf_vocab *v, const lf_vocab_source *source)
{
    v->merges = source->merges.data;
    v->n_merges = (uint32_t)source->merges.count;
    const int error = lf_walk_strings(&source->merges, v->width, &v->merge_at);
    if (error) return error;
    lf_read_byte_alphabet(v);
    return lf_table_fill(&v->by_merge, v->merges, v->merge_at, v->n_merges, v->width, 0, &v->longest);
}

static int lf_read_vocab(lf_vocab *v, const lf_vocab_source *source)
{
    int error = lf_walk_strings(&source->tokens, v->width, &v->token_at);
    if (error) return error;
    v->tokens = source->tokens.data;
    v->n_tokens = (uint32_t)source->tokens.count;
    v->unknown = source->unknown >= 0 && (uint32_t)source->unknown < v->n_tokens ? source->unknown : -1;
    error = lf_table_fill(&v->by_text, v->tokens, v->token_at, v->n_tokens, v->width, 1, &v->longest);
    if (!error) error = lf_read_kinds(v, &source->types);
    if (!error) error = lf_read_specials(v);
    if (!error && v->model == LF_BPE) error = lf_read_merges(v, source);
    if (!error && v->model == LF_SPM) {
        lf_read_byte_tokens(v);
        error = lf_read_scores(v, &source->scores);
        if (!error) error = lf_read_joins(v);
    }
    return error ? error : lf_read_powers(v);
}

int lf_vocab_open(const lf_vocab_source *source, lf_vocab **vocab)
{
    lf_vocab *v = calloc(1, sizeof *v);
    *vocab = NULL;
    if (!v) return LF_TOKENS_MEMORY;
    v->width = source->width == 4 ? 4 : 8;
    v->model = source->model;
    v->pre = source->pre;
    v->space_prefix = source->space_prefix;
    v->trim_spaces = source->trim_spaces;
    const int error = lf_read_vocab(v, source);
    if (error)
        lf_vocab_close(v);
    else
        *vocab = v;
    return error;
}

void lf_vocab_close(lf_vocab *v)
{
    if (!v) return;
    free(v->token_at);
    free(v->merge_at);
    free(v->priority);
    free(v->kind);
    free(v->by_text.slots);
    free(v->by_merge.slots);
    free(v->power);
    free(v->specials);
    free(v->joins);
    free(v);
}
