/* Arrays that grow, with every failure and overflow reported. */
#ifndef LF_GROW_H
#define LF_GROW_H

#include <stdint.h>
#include <stdlib.h>

/* Return `data` with room for at least `needed` items of `size` bytes, or NULL, with everything as it was. */
static inline void *lf_grow(void *data, uint64_t *room, uint64_t needed, size_t size)
{
    if (data && needed <= *room) return data;
    uint64_t wanted = *room + *room / 2;
    if (wanted < needed) wanted = needed;
    if (wanted < 64) wanted = 64;
    if (wanted > SIZE_MAX / size) return NULL;
    void *grown = realloc(data, (size_t)wanted * size);
    if (grown) *room = wanted;
    return grown;
}

#endif
