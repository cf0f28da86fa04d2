/* The modules that are linked into the head: the generated table, and _launcher, through which Python sees the own file. */
#ifndef LF_BUILTINS_H
#define LF_BUILTINS_H

#include <Python.h>

struct lf_self;

/* Generated; ends with a NULL name. */
struct lf_builtin {
    const char *name;
    PyObject *(*init)(void);
};
extern const struct lf_builtin lf_builtins[];

/* Before Python starts: make the linked modules importable. */
int lf_register_builtins(void);

/* Before Python starts: say which file _launcher speaks of. */
void lf_module_use(struct lf_self *self);

/* Once Python runs: put _launcher first in sys.meta_path; -1 with an exception on failure. */
int lf_module_watch_imports(void);

#endif
