/* Runs Python, isolated, on the modules in the own file: they are offered as frozen modules straight from the mapping. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "builtins.h"
#include "launcher.h"

#include <string.h>
#include <unistd.h>

enum { LF_PYC_HEADER = 16 };

static void lf_complain(const struct lf_self *self, const char *what) {
    fprintf(stderr, "%s: %s: %s\n", lf_product, self->path, what);
}

/* Turn "py/a/b/__init__.pyc" into "a.b"; sets package. NULL where it is no module, or memory is short. */
static char *lf_module_name(const struct lf_member *m, int *package) {
    size_t size = m->name_size;
    if (size <= 7 || memcmp(m->name, "py/", 3) || memcmp(m->name + size - 4, ".pyc", 4)) return NULL;
    char *name = strndup(m->name + 3, size - 7);
    if (!name) return NULL;
    size = strlen(name);
    *package = size > 9 && !strcmp(name + size - 9, "/__init__");
    if (*package) name[size - 9] = 0;
    for (char *p = name; (p = strchr(p, '/'));) *p = '.';
    return name;
}

/* PyImport_FrozenModules is one linear table that Python walks; what it held before stays in it. */
static int lf_offer_modules(struct lf_archive *a) {
    size_t before = 0, used = 0;
    while (PyImport_FrozenModules && PyImport_FrozenModules[before].name) before++;
    struct _frozen *table = calloc(before + a->count + 1, sizeof *table);
    if (!table) return -1;
    for (size_t i = 0; i < a->count; i++) {
        const struct lf_member *m = &a->members[i];
        int package = 0;
        char *name = lf_module_name(m, &package);
        const uint8_t *data = name ? lf_archive_data(a, m) : NULL;
        if (!data || m->size <= LF_PYC_HEADER || m->size > INT32_MAX) {
            free(name); /* a damaged one is named when it is asked for */
            continue;
        }
        int size = (int)(m->size - LF_PYC_HEADER);
        table[used].name = name;
        table[used].code = data + LF_PYC_HEADER;
#if PY_VERSION_HEX >= 0x030b0000
        table[used].size = size;
        table[used].is_package = package;
#else
        table[used].size = package ? -size : size;
#endif
        used++;
    }
    if (before) memcpy(table + used, PyImport_FrozenModules, before * sizeof *table);
    PyImport_FrozenModules = table;
    return 0;
}

/* Python loads these before anything of ours can look, so they are compared now; and the bytecode must be its own kind. */
static int lf_check_first_modules(const struct lf_self *self) {
    static const char *const first[] = {"py/encodings/__init__.pyc", "py/encodings/aliases.pyc", "py/encodings/utf_8.pyc"};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        struct lf_member *m = lf_archive_find(&self->archive, first[i], strlen(first[i]));
        if (!m || !lf_archive_checked(&self->archive, m) || m->size <= LF_PYC_HEADER) {
            fprintf(stderr, "%s: %s: member %s is %s; copy the file again\n", lf_product, self->path, first[i],
                    m ? "damaged" : "missing");
            return -1;
        }
    }
    return 0;
}

static PyStatus lf_configure(int argc, char **argv, const struct lf_self *self) {
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    before.configure_locale = 1;
    PyStatus status = Py_PreInitialize(&before);
    if (PyStatus_Exception(status)) return status;
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.write_bytecode = 0;
    config.pathconfig_warnings = 0;
    config.parse_argv = 0;
    config.install_signal_handlers = 1; /* as `python` does: Ctrl-C raises, a closed pipe is an error of write */
    config.module_search_paths_set = 1;
    wchar_t **empty[] = {&config.prefix, &config.exec_prefix, &config.base_prefix, &config.base_exec_prefix,
#if PY_VERSION_HEX >= 0x030b0000
                         &config.stdlib_dir,
#endif
                         &config.home};
    for (size_t i = 0; i < sizeof empty / sizeof *empty && !PyStatus_Exception(status); i++)
        status = PyConfig_SetString(&config, empty[i], L"");
    if (!PyStatus_Exception(status)) status = PyConfig_SetString(&config, &config.platlibdir, L"lib");
    if (!PyStatus_Exception(status)) status = PyConfig_SetBytesString(&config, &config.executable, self->path);
    if (!PyStatus_Exception(status)) status = PyConfig_SetBytesString(&config, &config.program_name, self->path);
    if (!PyStatus_Exception(status)) status = PyConfig_SetBytesArgv(&config, argc, argv);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return status;
}

static const char *lf_choose_module(const char *argv0) {
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
    const char *called = slash ? slash + 1 : argv0 ? argv0 : "";
    const struct lf_program *p = lf_programs;
    while (p->name && strcmp(p->name, called)) p++;
    return p->module;
}

int lf_start(int argc, char **argv, struct lf_self *self) {
    if (lf_check_first_modules(self)) return 1;
    if (lf_offer_modules(&self->archive) || lf_register_builtins()) {
        lf_complain(self, "no memory for its module table");
        return 1;
    }
    lf_module_use(self);
    PyStatus status = lf_configure(argc, argv, self);
    if (PyStatus_Exception(status)) {
        fprintf(stderr, "%s: %s: Python did not start (%s); the file may be damaged, copy it again\n", lf_product,
                self->path, status.err_msg ? status.err_msg : "no reason given");
        return 1;
    }
    self->at_python = lf_clock();
    PyObject *start = lf_module_watch_imports() ? NULL : PyImport_ImportModule("runtime.launcher.run");
    PyObject *result = start ? PyObject_CallMethod(start, "run", "s", lf_choose_module(argv[0])) : NULL;
    if (!result) {
        PyErr_Print(); /* leaves by itself on SystemExit, which is how a damaged member is reported */
        return 1;
    }
    _exit((int)PyLong_AsLong(result)); /* run() has done what must be done at exit; taking Python apart takes time */
}
