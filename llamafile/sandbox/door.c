/* prctl, seccomp and Landlock by their numbers: the C library of 2014 knows none of them. */
#define _GNU_SOURCE
#include "door.h"

#include <errno.h>

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { /* the same on x86-64 and aarch64, but for seccomp */
#if defined(__x86_64__)
    LF_SECCOMP = 317,
#else
    LF_SECCOMP = 277,
#endif
    LF_LANDLOCK_CREATE = 444,
    LF_LANDLOCK_ADD = 445,
    LF_LANDLOCK_RESTRICT = 446,
    LF_SET_FILTER = 1, /* seccomp's operation */
    LF_ALL_THREADS = 1,
    LF_VERSION = 1,        /* landlock_create_ruleset's flag that asks for it */
    LF_PATH_BENEATH = 1,
    LF_NO_NEW_PRIVILEGES = 38,
};

static int lf_renounce(void) { return prctl(LF_NO_NEW_PRIVILEGES, 1, 0, 0, 0) ? errno : 0; }

int lf_door_has_filters(void) {
    /* A null filter: EFAULT comes from a kernel that would have taken it, EINVAL from one that knows no such flag. */
    return syscall(LF_SECCOMP, LF_SET_FILTER, LF_ALL_THREADS, (void *)0) == -1 && errno == EFAULT;
}

int lf_door_filter(const void *instructions, int count) {
    struct {
        unsigned short count;
        const void *instructions;
    } program = {(unsigned short)count, instructions};
    if (count <= 0 || count > 4096) return EINVAL;
    int wrong = lf_renounce();
    if (wrong) return wrong;
    long result = syscall(LF_SECCOMP, LF_SET_FILTER, LF_ALL_THREADS, &program);
    if (result > 0) return EBUSY; /* the id of a thread that has a filter of its own */
    return result ? errno : 0;
}

int lf_door_landlock_version(void) {
    long version = syscall(LF_LANDLOCK_CREATE, (void *)0, (size_t)0, LF_VERSION);
    return version > 0 ? (int)version : 0;
}

/* What each version of Landlock brought, so that an older one is not asked for what it would refuse. */
static uint64_t lf_known_files(int version) {
    uint64_t bits = (1u << 13) - 1;            /* execute, write, read, and making and removing of every kind */
    if (version >= 2) bits |= 1u << 13;        /* moving to another folder */
    if (version >= 3) bits |= 1u << 14;        /* truncating */
    if (version >= 5) bits |= 1u << 15;        /* ioctl of devices */
    return bits;
}

static int lf_allow_folders(int ruleset, uint64_t known, const lf_door_folder *folders, int count) {
    for (int i = 0; i < count; i++) {
        struct __attribute__((packed)) {
            uint64_t rights;
            int32_t fd;
        } rule = {folders[i].rights & known, folders[i].fd};
        if (syscall(LF_LANDLOCK_ADD, ruleset, LF_PATH_BENEATH, &rule, 0)) return errno;
    }
    return 0;
}

int lf_door_landlock(uint64_t files, uint64_t network, uint64_t scopes, const lf_door_folder *folders, int count) {
    int version = lf_door_landlock_version();
    if (!version) return ENOSYS;
    uint64_t rules[3] = {files & lf_known_files(version), version >= 4 ? network : 0, version >= 6 ? scopes : 0};
    size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
    int ruleset = (int)syscall(LF_LANDLOCK_CREATE, rules, size, 0);
    if (ruleset < 0) return errno;
    int wrong = lf_allow_folders(ruleset, rules[0], folders, count);
    if (!wrong) wrong = lf_renounce();
    if (!wrong && syscall(LF_LANDLOCK_RESTRICT, ruleset, 0)) wrong = errno;
    close(ruleset);
    return wrong;
}

#else

int lf_door_has_filters(void) { return 0; }
int lf_door_filter(const void *instructions, int count) { return (void)instructions, (void)count, ENOSYS; }
int lf_door_landlock_version(void) { return 0; }
int lf_door_landlock(uint64_t files, uint64_t network, uint64_t scopes, const lf_door_folder *folders, int count) {
    return (void)files, (void)network, (void)scopes, (void)folders, (void)count, ENOSYS;
}

#endif
