/* Memory in whole pages, zeroed by the system when it is first touched. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include "core.h"

lf_memory lf_memory_new(int64_t size) {
    lf_memory none = {0, 0};
    if (size <= 0 || size > ((int64_t)1 << 46)) return none;
    void *p = mmap(0, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return none;
#ifdef MADV_NOHUGEPAGE
    /* A cache is touched a few cells a layer: in huge pages, a short prompt would have the system clear 2 MiB for each. */
    madvise(p, (size_t)size, MADV_NOHUGEPAGE);
#endif
    return (lf_memory){p, size};
}

lf_memory lf_memory_large(int64_t size) {
    lf_memory memory = lf_memory_new(size);
#ifdef MADV_HUGEPAGE
    if (memory.address) madvise(memory.address, (size_t)size, MADV_HUGEPAGE);
#endif
    return memory;
}

void lf_memory_free(lf_memory memory) {
    if (memory.address) munmap(memory.address, (size_t)memory.size);
}
