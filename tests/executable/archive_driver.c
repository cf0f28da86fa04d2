/* Opens the file of its last argument as the launcher would and looks at every member; 0 or 1, and never a crash. */
#include "archive.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    struct lf_archive archive;
    char error[256];
    size_t sound = 0;
    int fd = open(argv[argc - 1], O_RDONLY);
    if (fd < 0) return 2;
    if (lf_archive_open(&archive, fd, error, sizeof error)) return printf("%s\n", error) < 0 ? 3 : 1;
    for (size_t i = 0; i < archive.count; i++) {
        struct lf_member *m = &archive.members[i];
        const uint8_t *data = lf_archive_data(&archive, m);
        uint32_t sum = 0;
        for (uint64_t at = 0; data && at < m->size; at += 512) sum += data[at];
        struct lf_member *found = lf_archive_find(&archive, m->name, m->name_size);
        if (!found || found->name_size != m->name_size || memcmp(found->name, m->name, m->name_size)) return 4;
        sound += lf_archive_checked(&archive, m) != NULL && sum + 1 > 0;
    }
    printf("%zu of %zu%s%s\n", sound, archive.count, archive.notice ? ": " : "", archive.notice ? archive.notice : "");
    return 0;
}
