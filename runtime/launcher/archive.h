/* The launcher's view of its own file: the head's record, the ZIP directory, and checked bytes of the engine's members. */
#ifndef LF_ARCHIVE_H
#define LF_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#define LF_HEAD_SIZE (8u << 20) /* the launcher's slot at the start of the file */
#define LF_RECORD_SIZE 64u      /* the slot's last bytes: where the directory of this very engine lies */
#define LF_STAMP ".engine"      /* the member that tells one engine from another by its CRC */

struct lf_member {
    const char *name; /* not terminated; points into the directory */
    uint16_t name_size;
    uint16_t method;
    uint32_t crc;
    uint64_t offset; /* of the local header */
    uint64_t size;   /* stored bytes */
    char state;      /* 0 not looked at, 1 sound, 2 damaged */
};

struct lf_archive {
    int fd;
    uint64_t size; /* of the whole file */
    struct lf_member *members;
    size_t count;
    uint32_t *table; /* open hash: index + 1 into members */
    size_t mask;
    const uint8_t *map; /* all engine members, from file offset map_offset */
    uint64_t map_offset, map_size;
    const char *notice; /* what is wrong with the file although it can run, or NULL */
};

/* Read the engine's part of the directory of fd; on failure write one line to error and return -1. */
int lf_archive_open(struct lf_archive *archive, int fd, char *error, size_t error_size);

/* The member of that name, or NULL. */
struct lf_member *lf_archive_find(const struct lf_archive *archive, const char *name, size_t name_size);

/* First byte of a stored member inside the mapping, or NULL where its local header contradicts the directory. */
const uint8_t *lf_archive_data(const struct lf_archive *archive, const struct lf_member *member);

/* The same, and the CRC was compared (once): NULL where the member is damaged. */
const uint8_t *lf_archive_checked(const struct lf_archive *archive, struct lf_member *member);

/* Let go of the mapping's pages, of which the system brings in more than were asked for; they come back when read. */
void lf_archive_let_go(const struct lf_archive *archive);

/* CRC-32 of ZIP, continued from crc (0 to begin). */
uint32_t lf_crc32(uint32_t crc, const uint8_t *data, size_t size);

#endif
