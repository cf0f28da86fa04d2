/* Finds the ZIP directory of the own file and maps the engine's members, trusting no number in it. */
#define _GNU_SOURCE
#include "archive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LF_LOCAL_SIZE = 30,
    LF_CENTRAL_SIZE = 46,
    LF_END_SIZE = 22,
    LF_END64_SIZE = 56,
    LF_LOCATOR_SIZE = 20,
    LF_TAIL_SIZE = 65535 + LF_END_SIZE + LF_LOCATOR_SIZE,
};

struct lf_directory {
    uint64_t offset, size;
};

static uint16_t lf_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t lf_u32(const uint8_t *p) { return lf_u16(p) | (uint32_t)lf_u16(p + 2) << 16; }
static uint64_t lf_u64(const uint8_t *p) { return lf_u32(p) | (uint64_t)lf_u32(p + 4) << 32; }

static int lf_read_at(int fd, void *to, size_t size, uint64_t offset) {
    uint8_t *p = to;
    while (size) {
        ssize_t got = pread(fd, p, size, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return -1;
        p += got, size -= (size_t)got, offset += (uint64_t)got;
    }
    return 0;
}

static uint64_t lf_hash(const char *name, size_t size) {
    uint64_t h = 0xcbf29ce484222325u;
    while (size--) h = (h ^ (uint8_t)*name++) * 0x100000001b3u;
    return h ^ h >> 32;
}

static uint32_t *lf_cell(const struct lf_archive *a, const char *name, size_t size) {
    for (size_t i = lf_hash(name, size) & a->mask;; i = (i + 1) & a->mask) {
        uint32_t index = a->table[i];
        if (!index) return &a->table[i];
        const struct lf_member *m = &a->members[index - 1];
        if (m->name_size == size && !memcmp(m->name, name, size)) return &a->table[i];
    }
}

struct lf_member *lf_archive_find(const struct lf_archive *a, const char *name, size_t name_size) {
    if (!a->table) return NULL;
    uint32_t index = *lf_cell(a, name, name_size);
    return index ? &a->members[index - 1] : NULL;
}

static int lf_index(struct lf_archive *a) {
    size_t cells = 64;
    while (cells < a->count * 2) cells *= 2;
    a->mask = cells - 1;
    a->table = calloc(cells, sizeof *a->table);
    if (!a->table) return -1;
    for (size_t i = 0; i < a->count; i++) /* of two members with one name the later counts */
        *lf_cell(a, a->members[i].name, a->members[i].name_size) = (uint32_t)i + 1;
    return 0;
}

static int lf_is_engine(const char *name, size_t size) {
    return (size > 3 && !memcmp(name, "py/", 3)) || (size > 4 && !memcmp(name, "ext/", 4)) ||
           (size > 4 && !memcmp(name, "lib/", 4)) || (size == strlen(LF_STAMP) && !memcmp(name, LF_STAMP, size));
}

/* Values of the ZIP64 extra field replace those of the record that are all ones. */
static int lf_widen(const uint8_t *extra, size_t size, uint64_t *plain, uint64_t *packed, uint64_t *offset) {
    uint64_t *wide[3];
    size_t wanted = 0;
    if (*plain == 0xffffffffu) wide[wanted++] = plain;
    if (*packed == 0xffffffffu) wide[wanted++] = packed;
    if (*offset == 0xffffffffu) wide[wanted++] = offset;
    if (!wanted) return 0;
    while (size >= 4) {
        size_t length = lf_u16(extra + 2);
        if (length > size - 4) return -1;
        if (lf_u16(extra) == 1) {
            if (length < wanted * 8) return -1;
            for (size_t i = 0; i < wanted; i++) *wide[i] = lf_u64(extra + 4 + 8 * i);
            return 0;
        }
        extra += 4 + length, size -= 4 + length;
    }
    return -1;
}

static int lf_parse_entry(struct lf_archive *a, const uint8_t *p, uint64_t limit) {
    size_t name_size = lf_u16(p + 28);
    const char *name = (const char *)p + LF_CENTRAL_SIZE;
    if (!lf_is_engine(name, name_size)) return 0;
    uint64_t packed = lf_u32(p + 20), plain = lf_u32(p + 24), offset = lf_u32(p + 42);
    if (lf_widen(p + LF_CENTRAL_SIZE + name_size, lf_u16(p + 30), &plain, &packed, &offset)) return -1;
    if (offset > limit || packed > limit - offset) return -1;
    if (a->count % 256 == 0) {
        void *more = realloc(a->members, (a->count + 256) * sizeof *a->members);
        if (!more) return -1;
        a->members = more;
    }
    a->members[a->count++] = (struct lf_member){.name = name,
                                                .name_size = (uint16_t)name_size,
                                                .method = lf_u16(p + 10),
                                                .crc = lf_u32(p + 16),
                                                .offset = offset,
                                                .size = packed};
    return 0;
}

static void lf_forget(struct lf_archive *a) {
    free(a->members), free(a->table);
    a->members = NULL, a->table = NULL, a->count = 0;
}

/* Read one directory; -1 and nothing kept where it is not whole. The bytes stay allocated: names point into them. */
static int lf_parse(struct lf_archive *a, struct lf_directory d, uint32_t *crc) {
    if (d.offset > a->size || d.size > a->size - d.offset || d.size < LF_CENTRAL_SIZE) return -1;
    uint8_t *bytes = malloc(d.size);
    if (!bytes) return -1;
    if (lf_read_at(a->fd, bytes, d.size, d.offset)) goto bad;
    if (crc && lf_crc32(0, bytes, d.size) != *crc) goto bad;
    for (uint64_t at = 0; at < d.size;) {
        const uint8_t *p = bytes + at;
        if (d.size - at < LF_CENTRAL_SIZE || lf_u32(p) != 0x02014b50) goto bad;
        uint64_t whole = LF_CENTRAL_SIZE + (uint64_t)lf_u16(p + 28) + lf_u16(p + 30) + lf_u16(p + 32);
        if (whole > d.size - at || lf_parse_entry(a, p, d.offset)) goto bad;
        at += whole;
    }
    if (!a->count || lf_index(a)) goto bad;
    return 0;
bad:
    free(bytes);
    lf_forget(a);
    return -1;
}

/* The directory that the end record at file offset `at` speaks of. */
static int lf_follow_end(const struct lf_archive *a, const uint8_t *end, uint64_t at, struct lf_directory *d) {
    *d = (struct lf_directory){.offset = lf_u32(end + 16), .size = lf_u32(end + 12)};
    if (d->offset == 0xffffffffu || d->size == 0xffffffffu || lf_u16(end + 10) == 0xffffu) {
        uint8_t locator[LF_LOCATOR_SIZE], end64[LF_END64_SIZE];
        if (at >= LF_LOCATOR_SIZE && !lf_read_at(a->fd, locator, sizeof locator, at - sizeof locator) &&
            lf_u32(locator) == 0x07064b50) {
            uint64_t where = lf_u64(locator + 8);
            if (where > at || lf_read_at(a->fd, end64, sizeof end64, where) || lf_u32(end64) != 0x06064b50) return -1;
            *d = (struct lf_directory){.offset = lf_u64(end64 + 48), .size = lf_u64(end64 + 40)};
        }
    }
    return d->offset <= at && d->size <= at - d->offset ? 0 : -1;
}

/* Try the end records among the last bytes, last one first; only one that closes the file exactly needs no notice. */
static int lf_open_by_end(struct lf_archive *a) {
    struct lf_directory d;
    uint8_t end[LF_END_SIZE];
    if (a->size < LF_END_SIZE || lf_read_at(a->fd, end, sizeof end, a->size - sizeof end)) return -1;
    if (lf_u32(end) == 0x06054b50 && !lf_follow_end(a, end, a->size - sizeof end, &d) && !lf_parse(a, d, NULL)) return 0;
    size_t tail_size = a->size < LF_TAIL_SIZE ? (size_t)a->size : LF_TAIL_SIZE;
    uint8_t *tail = malloc(tail_size);
    int found = -1;
    if (tail && !lf_read_at(a->fd, tail, tail_size, a->size - tail_size))
        for (size_t i = tail_size - LF_END_SIZE + 1; found && i-- > 0;) {
            if (lf_u32(tail + i) != 0x06054b50) continue;
            if (lf_follow_end(a, tail + i, a->size - tail_size + i, &d) || lf_parse(a, d, NULL)) continue;
            if (lf_u16(tail + i + 20) != tail_size - i - LF_END_SIZE)
                a->notice = "bytes follow the ZIP directory; if packaging was interrupted, run zipalign on the file again";
            found = 0;
        }
    free(tail);
    return found;
}

/* The record at the end of the head's slot; fills the directory it names, its CRC, and the CRC of the stamp member. */
static int lf_read_record(const struct lf_archive *a, struct lf_directory *d, uint32_t *crc, uint32_t *stamp) {
    uint8_t record[LF_RECORD_SIZE];
    if (a->size < LF_HEAD_SIZE || lf_read_at(a->fd, record, sizeof record, LF_HEAD_SIZE - sizeof record)) return -1;
    if (memcmp(record, "lf-head", 8) || lf_u32(record + 60) != lf_crc32(0, record, 60)) return -1;
    *d = (struct lf_directory){.offset = lf_u64(record + 8), .size = lf_u64(record + 16)};
    *crc = lf_u32(record + 24), *stamp = lf_u32(record + 28);
    return 0;
}

static int lf_map(struct lf_archive *a) {
    uint64_t low = UINT64_MAX, high = 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct lf_member *m = &a->members[i];
        uint64_t end = m->offset + LF_LOCAL_SIZE + 2 * 65535u + m->size;
        if (m->offset < low) low = m->offset;
        if (end > high) high = end;
    }
    low &= ~(uint64_t)65535;
    if (high > a->size) high = a->size;
    void *map = mmap(NULL, high - low, PROT_READ, MAP_PRIVATE, a->fd, (off_t)low);
    if (map == MAP_FAILED) return -1;
    a->map = map, a->map_offset = low, a->map_size = high - low;
    return 0;
}

int lf_archive_open(struct lf_archive *a, int fd, char *error, size_t error_size) {
    struct stat status;
    struct lf_directory d;
    uint32_t crc = 0, stamp = 0;
    *a = (struct lf_archive){.fd = fd};
    if (fstat(fd, &status)) {
        snprintf(error, error_size, "cannot be examined (%s)", strerror(errno));
        return -1;
    }
    a->size = (uint64_t)status.st_size;
    int recorded = !lf_read_record(a, &d, &crc, &stamp);
    int found = !lf_open_by_end(a);
    if (found && recorded) { /* a directory of another engine: its upgrade was interrupted, so this head's own one counts */
        const struct lf_member *m = lf_archive_find(a, LF_STAMP, strlen(LF_STAMP));
        if (!m || m->crc != stamp) {
            lf_forget(a);
            a->notice = "the directory is of another engine; finish by running upgrade-engine on the file again";
            found = 0;
        }
    } else if (!found) {
        a->notice = "the ZIP directory at the end is missing or damaged; copy the file again, or, if packaging was "
                    "interrupted, run zipalign on it again";
    }
    if (!found && !(recorded && !lf_parse(a, d, &crc))) {
        snprintf(error, error_size,
                 "no ZIP directory with the engine's members in it: the file is truncated or damaged; copy it again");
        return -1;
    }
    if (lf_map(a)) {
        snprintf(error, error_size, "cannot be mapped (%s); is the address space limited (ulimit -v)?", strerror(errno));
        return -1;
    }
    return 0;
}

void lf_archive_let_go(const struct lf_archive *a) {
    madvise((void *)(uintptr_t)a->map, a->map_size, MADV_DONTNEED);
}

const uint8_t *lf_archive_data(const struct lf_archive *a, const struct lf_member *m) {
    uint64_t at = m->offset - a->map_offset;
    if (m->method || at > a->map_size || a->map_size - at < LF_LOCAL_SIZE) return NULL;
    const uint8_t *local = a->map + at;
    uint64_t data = at + LF_LOCAL_SIZE + lf_u16(local + 26) + lf_u16(local + 28);
    if (lf_u32(local) != 0x04034b50 || lf_u16(local + 26) != m->name_size) return NULL;
    if (data > a->map_size || m->size > a->map_size - data) return NULL;
    return memcmp(local + LF_LOCAL_SIZE, m->name, m->name_size) ? NULL : a->map + data;
}

const uint8_t *lf_archive_checked(const struct lf_archive *a, struct lf_member *m) {
    const uint8_t *data = m->state == 2 ? NULL : lf_archive_data(a, m);
    if (data && m->state == 0 && lf_crc32(0, data, m->size) != m->crc) data = NULL;
    m->state = data ? 1 : 2;
    return data;
}
