/* What the parts of the launcher share: the own file, the times of a start, and the tables the freeze recipe generates. */
#ifndef LF_LAUNCHER_H
#define LF_LAUNCHER_H

#include "archive.h"

#define LF_PATH_SIZE 4096

struct lf_self {
    struct lf_archive archive;
    char path[LF_PATH_SIZE];
    /* nanoseconds: CPU time spent before main, then CLOCK_MONOTONIC at main, directory read, Python ready */
    uint64_t cpu_before_main, at_main, at_directory, at_python;
};

/* Generated: one row a name the file may be called by, the last one for every other name. */
struct lf_program {
    const char *name;
    const char *module; /* its function main() is run */
};
extern const struct lf_program lf_programs[];
extern const char lf_product[]; /* begins every message */

/* Open and index the own file; prints one line and returns -1 where that fails. */
int lf_self_open(struct lf_self *self, char **argv);

/* Copy a member's bytes into an anonymous file that dlopen can load by /proc/self/fd; -1 and errno on failure. */
int lf_memory_file(const char *name, const uint8_t *data, size_t size);

/* Run Python on the opened file; returns the exit status. */
__attribute__((visibility("default"))) int lf_start(int argc, char **argv, struct lf_self *self);

uint64_t lf_clock(void);

#endif
