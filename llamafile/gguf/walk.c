/* Walks the key table and the tensor table of a GGUF; every count and length is checked before it is believed. */
#include "walk.h"

#include <string.h>

enum { LF_GGUF_STRING = 8, LF_GGUF_ARRAY = 9, LF_GGUF_TYPES = 13 };
/* Far above real files (200 keys, 45,000 tensors), low enough that a made-up file cannot keep Python busy for long. */
enum { LF_GGUF_NAME_MAX = 65535, LF_GGUF_KEYS_MAX = 65536, LF_GGUF_TENSORS_MAX = 131072 };

/* Bytes of a value by its type; 0 where the value says its own length. */
static const uint8_t lf_gguf_size[LF_GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct {
    const uint8_t *data;
    uint64_t size, at;
    uint32_t width; /* bytes of a length or count: 4 in version 1, 8 later */
    const char *error;
} lf_cursor;

/* Load a little-endian number; both copies have a constant size, so that each is one instruction. */
static uint64_t lf_load(const uint8_t *from, uint32_t width)
{
    uint64_t wide = 0;
    uint32_t narrow = 0;
    if (width == 8)
        memcpy(&wide, from, 8);
    else
        memcpy(&narrow, from, 4);
    return wide | narrow;
}

/* Keep the first error: what follows it is a consequence. */
static uint64_t lf_fail(lf_cursor *c, const char *error)
{
    if (!c->error) c->error = error;
    return 0;
}

/* Read a little-endian number of 4 or 8 bytes; 0 after an error. */
static uint64_t lf_number(lf_cursor *c, uint32_t width)
{
    if (c->error || c->size - c->at < width) return lf_fail(c, "the file ends inside the metadata");
    c->at += width;
    return lf_load(c->data + c->at - width, width);
}

static void lf_skip(lf_cursor *c, uint64_t bytes, const char *error)
{
    if (c->error || c->size - c->at < bytes)
        lf_fail(c, error);
    else
        c->at += bytes;
}

uint64_t lf_gguf_skip_strings(const void *data, uint64_t size, uint64_t at, uint64_t count, uint32_t width)
{
    if ((width != 4 && width != 8) || at > size || count > (size - at) / width) return 0;
    const uint8_t *bytes = data;
    for (; count; count--) {
        if (size - at < width) return 0;
        const uint64_t length = lf_load(bytes + at, width);
        at += width;
        if (length > size - at) return 0;
        at += length;
    }
    return at;
}

static void lf_skip_array(lf_cursor *c, uint32_t item, uint64_t count)
{
    if (item >= LF_GGUF_TYPES) lf_fail(c, "an array has elements of an unknown type");
    if (item == LF_GGUF_ARRAY) lf_fail(c, "an array has arrays as elements");
    if (c->error) return;
    if (item == LF_GGUF_STRING) {
        const uint64_t end = lf_gguf_skip_strings(c->data, c->size, c->at, count, c->width);
        if (!end)
            lf_fail(c, "an array of strings is longer than the file");
        else
            c->at = end;
    } else if (count > (c->size - c->at) / lf_gguf_size[item]) {
        lf_fail(c, "an array is longer than the file");
    } else {
        c->at += count * lf_gguf_size[item];
    }
}

static void lf_read_name(lf_cursor *c, uint64_t *name, uint32_t *size)
{
    const uint64_t length = lf_number(c, c->width);
    if (!c->error && !length) lf_fail(c, "a name is empty");
    if (!c->error && length > LF_GGUF_NAME_MAX) lf_fail(c, "a name is longer than 65535 bytes");
    *name = c->at;
    *size = (uint32_t)length;
    lf_skip(c, length, "a name is longer than the file");
}

static void lf_read_key(lf_cursor *c, lf_gguf_key *key)
{
    lf_read_name(c, &key->name, &key->name_size);
    key->type = (uint32_t)lf_number(c, 4);
    if (key->type >= LF_GGUF_TYPES) lf_fail(c, "a value has an unknown type");
    key->item = key->spare = 0;
    key->count = 1;
    if (key->type == LF_GGUF_STRING) {
        key->count = lf_number(c, c->width);
    } else if (key->type == LF_GGUF_ARRAY) {
        key->item = (uint32_t)lf_number(c, 4);
        key->count = lf_number(c, c->width);
    }
    key->value = c->at;
    if (c->error) return;
    if (key->type == LF_GGUF_ARRAY)
        lf_skip_array(c, key->item, key->count);
    else if (key->type == LF_GGUF_STRING)
        lf_skip(c, key->count, "a string is longer than the file");
    else
        lf_skip(c, lf_gguf_size[key->type], "the file ends inside the metadata");
    key->end = c->at;
}

static void lf_read_tensor(lf_cursor *c, lf_gguf_tensor *tensor)
{
    lf_read_name(c, &tensor->name, &tensor->name_size);
    tensor->dimensions = (uint32_t)lf_number(c, 4);
    if (tensor->dimensions > 4) lf_fail(c, "a tensor has more than 4 dimensions");
    for (uint32_t i = 0; i < 4; i++) tensor->ne[i] = i < tensor->dimensions ? lf_number(c, c->width) : 1;
    tensor->type = (uint32_t)lf_number(c, 4);
    tensor->spare = 0;
    tensor->offset = lf_number(c, 8);
}

static int lf_failed(const lf_cursor *c, lf_gguf_head *head, uint32_t where, uint64_t record)
{
    if (!c->error) return 0;
    head->error = c->error;
    head->at = c->at;
    head->where = where;
    head->record = record;
    return 1;
}

int lf_gguf_walk(const void *data, uint64_t size, lf_gguf_head *head, lf_gguf_key *keys, uint64_t key_room,
                 lf_gguf_tensor *tensors, uint64_t tensor_room)
{
    lf_cursor c = {data, size, 4, 4, NULL};
    lf_gguf_key spare_key;
    lf_gguf_tensor spare_tensor;

    memset(head, 0, sizeof *head);
    if (size < 4) lf_fail(&c, "the file ends inside the metadata");
    head->version = (uint32_t)lf_number(&c, 4);
    if (head->version > 1) c.width = 8;
    head->tensors = lf_number(&c, c.width);
    head->keys = lf_number(&c, c.width);
    if (head->keys > LF_GGUF_KEYS_MAX) lf_fail(&c, "there are more than 65536 keys");
    if (head->tensors > LF_GGUF_TENSORS_MAX) lf_fail(&c, "there are more than 131072 tensors");
    if (lf_failed(&c, head, 0, 0)) return -1;
    for (uint64_t i = 0; i < head->keys; i++) {
        lf_read_key(&c, i < key_room ? keys + i : &spare_key);
        if (lf_failed(&c, head, 1, i)) return -1;
    }
    for (uint64_t i = 0; i < head->tensors; i++) {
        lf_read_tensor(&c, i < tensor_room ? tensors + i : &spare_tensor);
        if (lf_failed(&c, head, 2, i)) return -1;
    }
    head->end = c.at;
    return 0;
}
