/* Walking a GGUF's metadata: bounds-checked, without allocation, and without Python entering once an array element. */
#ifndef LF_GGUF_WALK_H
#define LF_GGUF_WALK_H

#include <stdint.h>

/* cdef-begin */

/* A key: its name, and its value's type and bytes. Positions count from the GGUF's first byte. A string's `value` is
   its first character and `count` its length; an array's `value` is its first element, and `item` the elements' type. */
typedef struct {
    uint64_t name, value, count, end;
    uint32_t name_size, type, item, spare;
} lf_gguf_key;

/* A tensor: its name, shape (ne[0] is contiguous; unused dimensions are 1), format, and offset in the data section. */
typedef struct {
    uint64_t name, ne[4], offset;
    uint32_t name_size, type, dimensions, spare;
} lf_gguf_tensor;

/* What a walk found. Where it failed, `error` is a static text, `at` the position, `where` the section
   (0 the head, 1 a key, 2 a tensor) and `record` the number of the record in that section. */
typedef struct {
    uint64_t keys, tensors, end, at, record;
    const char *error;
    uint32_t version, where;
} lf_gguf_head;

/* Walk keys and tensor records of `size` bytes of GGUF, version 1 to 3 (the caller has looked at magic and version).
   As many records as there is room for are stored; all are walked, so a count that comes back is a true one.
   Return 0, or -1 with `error` set. */
int lf_gguf_walk(const void *data, uint64_t size, lf_gguf_head *head, lf_gguf_key *keys, uint64_t key_room,
                 lf_gguf_tensor *tensors, uint64_t tensor_room);

/* Return the position after `count` strings that begin at `at`, or 0 where they do not fit into `size` bytes; `width`
   is the size of a string's length: 4 bytes in version 1, 8 later. */
uint64_t lf_gguf_skip_strings(const void *data, uint64_t size, uint64_t at, uint64_t count, uint32_t width);

/* cdef-end */

#endif
