/* The module _launcher: the own file for Python, and the finder that checks modules and knows the native extensions. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "builtins.h"
#include "launcher.h"

#include <dlfcn.h>
#include <string.h>

static struct lf_self *lf_own;

/* SystemExit, not ImportError: no `except ImportError` around an optional module may hide a damaged file. */
static PyObject *lf_refuse(const struct lf_member *m) {
    PyObject *path = PyUnicode_DecodeFSDefault(lf_own->path);
    PyObject *name = PyUnicode_DecodeUTF8(m->name, m->name_size, "replace");
    if (path && name)
        PyErr_Format(PyExc_SystemExit, "%s: %U: member %U is damaged; copy the file again (--verify checks all of it)",
                     lf_product, path, name);
    Py_XDECREF(path);
    Py_XDECREF(name);
    return NULL;
}

static struct lf_member *lf_module_member(const char *prefix, const char *module, const char *suffix) {
    char path[512];
    int size = snprintf(path, sizeof path, "%s%s%s", prefix, module, suffix);
    if (size < 0 || (size_t)size >= sizeof path) return NULL;
    size_t from = strlen(prefix), to = from + strlen(module);
    for (size_t i = from; i < to; i++)
        if (path[i] == '.') path[i] = '/';
    return lf_archive_find(&lf_own->archive, path, (size_t)size);
}

/* Python up to 3.11.4 looks for linked modules only outside packages, so those inside are found here. */
static int lf_is_linked(const char *name) {
    const struct lf_builtin *b = lf_builtins;
    while (b->name && strcmp(b->name, name)) b++;
    return b->name != NULL;
}

static PyObject *lf_find_spec(PyObject *module, PyObject *args) {
    const char *name;
    PyObject *path = NULL, *target = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "s|OO", &name, &path, &target)) return NULL;
    struct lf_member *m = lf_module_member("py/", name, ".pyc");
    if (!m) m = lf_module_member("py/", name, "/__init__.pyc");
    if (m) { /* the frozen importer takes it from here */
        if (!lf_archive_checked(&lf_own->archive, m)) return lf_refuse(m);
        Py_RETURN_NONE;
    }
    PyObject *spec = NULL, *finder = NULL;
    if (lf_is_linked(name)) {
        PyObject *bootstrap = PyImport_ImportModule("_frozen_importlib");
        finder = bootstrap ? PyObject_GetAttrString(bootstrap, "BuiltinImporter") : NULL;
        if (finder) spec = PyObject_CallMethod(finder, "find_spec", "s", name);
        Py_XDECREF(bootstrap);
    } else {
        if (!(m = lf_module_member("ext/", name, ".so"))) Py_RETURN_NONE;
        finder = PyImport_ImportModule("runtime.launcher.extensions");
        if (finder) spec = PyObject_CallMethod(finder, "find_spec", "ss#", name, m->name, (Py_ssize_t)m->name_size);
    }
    Py_XDECREF(finder);
    return spec;
}

static struct lf_member *lf_named_member(PyObject *args) {
    const char *name;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "s#", &name, &size)) return NULL;
    struct lf_member *m = lf_archive_find(&lf_own->archive, name, (size_t)size);
    if (!m) PyErr_SetObject(PyExc_KeyError, PyTuple_GET_ITEM(args, 0));
    return m;
}

static PyObject *lf_member(PyObject *module, PyObject *args) {
    (void)module;
    struct lf_member *m = lf_named_member(args);
    return m ? Py_BuildValue("KKk", (unsigned long long)m->offset, (unsigned long long)m->size, (unsigned long)m->crc) : NULL;
}

static PyObject *lf_data(PyObject *module, PyObject *args) {
    (void)module;
    struct lf_member *m = lf_named_member(args);
    if (!m) return NULL;
    const uint8_t *data = lf_archive_checked(&lf_own->archive, m);
    if (!data) return lf_refuse(m);
    return PyMemoryView_FromMemory((char *)(uintptr_t)data, (Py_ssize_t)m->size, PyBUF_READ);
}

static PyObject *lf_memfd(PyObject *module, PyObject *args) {
    (void)module;
    struct lf_member *m = lf_named_member(args);
    if (!m) return NULL;
    const uint8_t *data = lf_archive_checked(&lf_own->archive, m);
    if (!data) return lf_refuse(m);
    int fd = lf_memory_file(lf_product, data, m->size);
    return fd < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(fd);
}

static PyObject *lf_dlopen(PyObject *module, PyObject *args) {
    const char *path;
    (void)module;
    if (!PyArg_ParseTuple(args, "s", &path)) return NULL;
    if (!dlopen(path, RTLD_NOW | RTLD_GLOBAL)) {
        const char *why = dlerror();
        PyErr_SetString(PyExc_OSError, why ? why : "dlopen failed");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *lf_let_go(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    lf_archive_let_go(&lf_own->archive);
    Py_RETURN_NONE;
}

static PyMethodDef lf_methods[] = {
    {"find_spec", lf_find_spec, METH_VARARGS, "Finder protocol: check a module's bytes, or find a native extension."},
    {"member", lf_member, METH_VARARGS, "(offset of the local header, size, CRC) of an engine member; KeyError."},
    {"data", lf_data, METH_VARARGS, "Checked bytes of an engine member as a memoryview of the mapping; KeyError."},
    {"memfd", lf_memfd, METH_VARARGS, "A file descriptor with a copy of an engine member, for dlopen; KeyError, OSError."},
    {"dlopen", lf_dlopen, METH_VARARGS, "Load a shared library for all that come after it; OSError."},
    {"let_go", lf_let_go, METH_NOARGS, "Let go of the members' pages; whoever reads them again gets them from the file."},
    {NULL, NULL, 0, NULL},
};

static int lf_fill(PyObject *m) {
    PyObject *path = PyUnicode_DecodeFSDefault(lf_own->path);
    if (!path || PyModule_AddObject(m, "path", path)) return -1;
    PyObject *notice = Py_BuildValue("z", lf_own->archive.notice);
    if (!notice || PyModule_AddObject(m, "notice", notice)) return -1;
    PyObject *times = Py_BuildValue("{sKsKsKsK}", "cpu_before_main", (unsigned long long)lf_own->cpu_before_main, "main",
                                    (unsigned long long)lf_own->at_main, "directory",
                                    (unsigned long long)lf_own->at_directory, "python",
                                    (unsigned long long)lf_own->at_python);
    if (!times || PyModule_AddObject(m, "times", times)) return -1;
    return PyModule_AddIntConstant(m, "fd", lf_own->archive.fd);
}

static PyModuleDef lf_definition = {PyModuleDef_HEAD_INIT, "_launcher", "The running executable as Python sees it.", -1,
                                    lf_methods, NULL, NULL, NULL, NULL};

static PyObject *lf_init(void) {
    PyObject *m = PyModule_Create(&lf_definition);
    if (m && lf_fill(m)) Py_CLEAR(m);
    return m;
}

int lf_register_builtins(void) {
    for (const struct lf_builtin *b = lf_builtins; b->name; b++)
        if (PyImport_AppendInittab(b->name, b->init)) return -1;
    return PyImport_AppendInittab("_launcher", lf_init);
}

void lf_module_use(struct lf_self *self) { lf_own = self; }

int lf_module_watch_imports(void) {
    PyObject *finders = PySys_GetObject("meta_path"); /* borrowed */
    PyObject *m = PyImport_ImportModule("_launcher");
    int failed = !finders || !m || PyList_Insert(finders, 0, m);
    Py_XDECREF(m);
    return failed ? -1 : 0;
}
