/* Finds and opens the file this process was started from, with or without /proc. */
#define _GNU_SOURCE
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_memfd_create /* the headers of glibc 2.17 are older than the call */
#if defined(__x86_64__)
#define SYS_memfd_create 319
#elif defined(__aarch64__)
#define SYS_memfd_create 279
#else
#error "number of memfd_create on this machine?"
#endif
#endif

enum { LF_MFD_CLOEXEC = 1, LF_MFD_NOEXEC_SEAL = 8 };

static uint64_t lf_nanoseconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t lf_clock(void) { return lf_nanoseconds(CLOCK_MONOTONIC); }

static int lf_open_regular(const char *path) {
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &status) || !S_ISREG(status.st_mode))) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

/* Without /proc: the path given to execve, else argv[0], looked up in PATH as a shell does. */
static int lf_open_by_name(struct lf_self *self, const char *name) {
    if (!name || !*name) return -1;
    int fd = lf_open_regular(name);
    if (fd >= 0 || strchr(name, '/')) {
        if (fd >= 0 && !realpath(name, self->path)) snprintf(self->path, sizeof self->path, "%s", name);
        return fd;
    }
    for (const char *p = getenv("PATH"); p && *p && fd < 0; p += *p == ':') {
        size_t size = strcspn(p, ":");
        snprintf(self->path, sizeof self->path, "%.*s/%s", size ? (int)size : 1, size ? p : ".", name);
        fd = lf_open_regular(self->path);
        p += size;
    }
    return fd;
}

static int lf_open_self(struct lf_self *self, const char *argv0) {
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t size = readlink("/proc/self/exe", self->path, sizeof self->path - 1);
        self->path[size > 0 ? size : 0] = 0;
        return fd;
    }
    if (errno == EACCES || errno == EPERM) {
        snprintf(self->path, sizeof self->path, "%s", argv0 ? argv0 : lf_product);
        errno = EACCES;
        return -1;
    }
    fd = lf_open_by_name(self, (const char *)(uintptr_t)getauxval(31 /* AT_EXECFN */));
    return fd >= 0 ? fd : lf_open_by_name(self, argv0);
}

/* With standard descriptors closed the file would get their number, and Python would read its input from it. */
static int lf_beyond_standard(int fd) {
    if (fd < 0 || fd > 2) return fd;
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return higher;
}

int lf_self_open(struct lf_self *self, char **argv) {
    char error[256];
    self->at_main = lf_clock();
    self->cpu_before_main = lf_nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    int fd = lf_beyond_standard(lf_open_self(self, argv[0]));
    if (fd < 0 && errno == EACCES) {
        fprintf(stderr, "%s: %s: may not be read; make it readable, chmod +r, since it carries its own modules\n",
                lf_product, self->path);
        return -1;
    }
    if (fd < 0) {
        fprintf(stderr, "%s: own file: not found, /proc is not mounted and argv[0] does not name it; start it by its path\n",
                lf_product);
        return -1;
    }
    if (lf_archive_open(&self->archive, fd, error, sizeof error)) {
        fprintf(stderr, "%s: %s: %s\n", lf_product, self->path, error);
        return -1;
    }
    self->at_directory = lf_clock();
    return 0;
}

int lf_memory_file(const char *name, const uint8_t *data, size_t size) {
    long fd = syscall(SYS_memfd_create, name, LF_MFD_CLOEXEC);
    if (fd < 0 && errno == EACCES) fd = syscall(SYS_memfd_create, name, LF_MFD_CLOEXEC | LF_MFD_NOEXEC_SEAL);
    while (fd >= 0 && size) {
        ssize_t put = write((int)fd, data, size);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            int why = put ? errno : EIO;
            close((int)fd);
            errno = why;
            return -1;
        }
        data += put, size -= (size_t)put;
    }
    return (int)fd;
}
