/* Loading a GPU module: the library, its one symbol, and whether it was made from the same declarations. */
#include <dlfcn.h>
#include <stdio.h>
#include "abi.h"
#include "core.h"

static const lf_module *lf_refuse(void *library, char *fault, int size, const char *what) {
    if (size > 0) snprintf(fault, (size_t)size, "%s", what);
    if (library) dlclose(library);
    return 0;
}

const lf_module *lf_module_load(const char *path, char *fault, int fault_size) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        return lf_refuse(0, fault, fault_size, why ? why : "it cannot be loaded");
    }
    const lf_module *(*table)(void);
    *(void **)&table = dlsym(library, LF_MODULE_SYMBOL);
    if (!table) return lf_refuse(library, fault, fault_size, "it has no " LF_MODULE_SYMBOL);
    const lf_module *m = table();
    if (!m || m->abi != LF_ABI) return lf_refuse(library, fault, fault_size, "it was made from other declarations");
    if (!m->kind || !m->count || !m->open || !m->close || !m->memory || !m->alloc || !m->release || !m->upload ||
        !m->download || !m->copy || !m->run || !m->serves || !m->sync)
        return lf_refuse(library, fault, fault_size, "its table has a gap");
    return m;
}
