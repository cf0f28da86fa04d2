/* Head of an executable for a CPython that exists only as a shared library: it and the rest of the launcher are members
   of the file, loaded from memory. */
#define _GNU_SOURCE
#include "launcher.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

extern const char *const lf_libraries[]; /* generated: members in loading order, the launcher last; ends with NULL */

/* The descriptor stays open: the dynamic linker knows a loaded library by its path. */
static void *lf_load(const struct lf_self *self, const char *name) {
    struct lf_member *m = lf_archive_find(&self->archive, name, strlen(name));
    const uint8_t *data = m ? lf_archive_checked(&self->archive, m) : NULL;
    if (!data) {
        fprintf(stderr, "%s: %s: member %s is %s; copy the file again\n", lf_product, self->path, name,
                m ? "damaged" : "missing");
        return NULL;
    }
    char path[32];
    int fd = lf_memory_file(lf_product, data, m->size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    void *library = fd < 0 ? NULL : dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!library)
        fprintf(stderr, "%s: %s: member %s cannot be loaded from memory (%s); is /proc mounted?\n", lf_product, self->path,
                name, fd < 0 ? strerror(errno) : dlerror());
    return library;
}

int main(int argc, char **argv) {
    static struct lf_self self;
    if (lf_self_open(&self, argv)) return 1;
    void *library = NULL;
    for (const char *const *name = lf_libraries; *name; name++)
        if (!(library = lf_load(&self, *name))) return 1;
    int (*start)(int, char **, struct lf_self *) = NULL;
    *(void **)&start = library ? dlsym(library, "lf_start") : NULL;
    if (!start) {
        fprintf(stderr, "%s: %s: has no launcher in it; build it again\n", lf_product, self.path);
        return 1;
    }
    return start(argc, argv, &self);
}
