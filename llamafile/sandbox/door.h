/* Asks the kernel to bind this process: a filter of system calls for all threads, Landlock for the calling one. */
#ifndef LF_DOOR_H
#define LF_DOOR_H

#include <stdint.h>

/* cdef-begin */

/* Whether this kernel has filters that bind all threads. */
int lf_door_has_filters(void);
/* Bind all threads, for ever, by a filter of `count` instructions of 8 bytes; 0, or an error number. */
int lf_door_filter(const void *instructions, int count);

/* The version of Landlock's interface, 0 where the kernel has none. */
int lf_door_landlock_version(void);
/* A folder in which some of the rights stay. */
typedef struct {
    int fd;
    uint64_t rights;
} lf_door_folder;
/* Take rights (bits of Landlock's own) about files, network and scopes away from the calling thread and all it starts;
   those that the kernel does not know yet are left out. 0, or an error number. */
int lf_door_landlock(uint64_t files, uint64_t network, uint64_t scopes, const lf_door_folder *folders, int count);

/* cdef-end */
#endif
