/* Opens each file it is given as the launcher would and looks at every member; a line a file, and never a crash. */
#include "archive.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int lf_look_at(const char *path) {
    struct lf_archive archive;
    char error[256];
    size_t sound = 0;
    int fd = open(path, O_RDONLY);
    if (fd < 0) return 2;
    if (lf_archive_open(&archive, fd, error, sizeof error)) {
        printf("refused: %s\n", error);
        return close(fd);
    }
    for (size_t i = 0; i < archive.count; i++) {
        struct lf_member *m = &archive.members[i];
        const uint8_t *data = lf_archive_data(&archive, m);
        uint32_t sum = 0;
        for (uint64_t at = 0; data && at < m->size; at += 512) sum += data[at];
        struct lf_member *found = lf_archive_find(&archive, m->name, m->name_size);
        if (!found || found->name_size != m->name_size || memcmp(found->name, m->name, m->name_size)) return 3;
        sound += lf_archive_checked(&archive, m) != NULL && sum + 1 > 0;
    }
    printf("%zu of %zu%s%s\n", sound, archive.count, archive.notice ? ": " : "", archive.notice ? archive.notice : "");
    munmap((void *)(uintptr_t)archive.map, archive.map_size);
    return close(fd);
}

int main(int argc, char **argv) {
    int status = 0;
    for (int i = 1; i < argc && !status; i++) status = lf_look_at(argv[i]);
    return status;
}
