/* Keeps Python from looking for an installation: every path it needs is given by start.c, and files that happen to lie
   beside the executable (pyvenv.cfg, NAME._pth) must not steer it. Python's own function of this name is linked no more. */
#include <Python.h>

#if PY_VERSION_HEX >= 0x030b0000
PyStatus _PyConfig_InitPathConfig(PyConfig *config, int compute_path_config);

PyStatus _PyConfig_InitPathConfig(PyConfig *config, int compute_path_config) {
    (void)config, (void)compute_path_config;
    return PyStatus_Ok();
}
#endif
